/**
 * /custom/notify/digest: sends what a group's robot had no room for, as one message.
 *
 * Event:   NOTIFY_DIGEST, raised by /lib/notify when a message had to wait (payload: which robot)
 * Env:     those of /lib/notify. Table: sql/shop/notify.sql.
 * Retried: the robot cannot be reached, is busy or was sent too much; what waits goes on waiting, and is not lost.
 * Not:     the robot refuses the message itself: dead letter, replay it after the repair.
 * While the robot takes no more calls, this run is put off without using up an attempt.
 */

return require('/lib/notify').sendDigest(payload.event.payload)
