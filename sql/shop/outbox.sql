-- The outbox, for MySQL 8, MariaDB and SQLite alike: the shop inserts a row in the same transaction as what it tells
-- of, and Sandhook makes an event of it. Run once in the shop's database; Sandhook finds the table within a minute.
-- The shop fills event_key and payload, and what it likes of mer_id, created_at, event_id, ordering_key and data.
-- A row that was no event has `error` set; correct it and set taken_at and error to NULL to have it tried again.
-- Rows that are done with are deleted after the retention (config/limits.json).

CREATE TABLE IF NOT EXISTS sandhook_outbox (
  id           INTEGER /*! UNSIGNED */ PRIMARY KEY /*! AUTO_INCREMENT */,
  event_key    VARCHAR(100) NOT NULL,                  -- ORDER_PAY_SUCCESS
  payload      TEXT NOT NULL,                          -- the order number as it is, or a JSON object
  mer_id       VARCHAR(64) NULL,                       -- none: found by the catalog's query
  created_at   BIGINT NULL,                            -- ms (or s) since 1970; none: when it is taken
  event_id     VARCHAR(128) NULL,                      -- an event is accepted once per id; none: made from this row's
  ordering_key VARCHAR(191) NULL,                      -- events with the same one keep their order; none: the payload
  data         TEXT NULL,                              -- JSON for payload.event.data
  taken_at     BIGINT NULL,                            -- ms since 1970, by Sandhook: it is an event, or has an error
  error        VARCHAR(255) NULL                       -- by Sandhook: why it is none
) /*! ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin */;
CREATE INDEX sandhook_outbox_taken ON sandhook_outbox (taken_at, id);
