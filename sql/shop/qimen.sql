-- What the Qimen hooks keep in the shop's database, for MySQL 8, MariaDB and SQLite alike. Run once, before they are
-- switched on, by whoever may create tables. The account that scripts use needs SELECT, INSERT, UPDATE and DELETE.

-- One row for each status of a tid that Qimen has. Delete a row to have its status sent again.
CREATE TABLE IF NOT EXISTS qimen_sent (
  tid          VARCHAR(64) NOT NULL,
  status       VARCHAR(64) NOT NULL,                   -- QIMEN_ERP_TRANSFER, ...
  seller       VARCHAR(64) NOT NULL DEFAULT '',        -- the nick; empty: the seller of the session
  order_no     VARCHAR(32) NOT NULL,                   -- eb_store_order.order_id
  erp_order_id VARCHAR(64) NULL,                       -- as sent; none for split and merged orders
  event_time   DATETIME NULL,                          -- as sent: the clock of China
  already      INTEGER NOT NULL DEFAULT 0,             -- 1: Qimen said that it had the status before
  sent_at      DATETIME NOT NULL,
  PRIMARY KEY (tid, status, seller)
) /*! ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin */;

-- Sellers that taobao.qimen.trade.user.add was called for. Delete a row to have its seller registered again.
CREATE TABLE IF NOT EXISTS qimen_seller (
  app_key       VARCHAR(64) NOT NULL,
  nick          VARCHAR(64) NOT NULL,                  -- empty: the seller of the session
  registered_at DATETIME NOT NULL,
  PRIMARY KEY (app_key, nick)
) /*! ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin */;
