-- What /lib/sms has sent, is sending or was refused, for MySQL 8, MariaDB and SQLite alike. Run once in the shop's
-- database. The row of a message is written before it is sent: its key is what keeps it from being sent twice.
-- Rows may be deleted when no event that old can come again (say, after 90 days).

CREATE TABLE IF NOT EXISTS sms_record (
  message_key CHAR(64) NOT NULL PRIMARY KEY,           -- SHA-256 of what it is for (an event's id), phone and template
  mer_id      INTEGER NOT NULL DEFAULT 0,              -- whose hook sent it; 0: the platform's
  phone       VARCHAR(32) NOT NULL,
  template    VARCHAR(100) NOT NULL,                   -- the sender's name or code of the template
  status      VARCHAR(16) NOT NULL,                    -- sending, sent, refused
  answer      VARCHAR(255) NOT NULL DEFAULT '',        -- the service's number of the message, or why it was refused
  created_at  BIGINT NOT NULL,                         -- ms since 1970
  updated_at  BIGINT NOT NULL
) /*! ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci */;
