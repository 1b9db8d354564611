-- The demo shop: the tables that hooks read and write, for MySQL 8, MariaDB and SQLite alike.
-- Run once, on an empty shop. Money is in fen (1/100 yuan) everywhere, as integers; times are the shop's own
-- clock, written YYYY-MM-DD HH:mm:ss.
--
-- How this differs from a real CRMEB database:
-- * Money: every CRMEB edition keeps decimal yuan. Put views in between: CREATE VIEW ... SELECT pay_price * 100 ...
-- * Numbers: the single-shop edition calls the order number order_id as here, the multi-merchant ones order_no or
--   order_sn. Order lines count with pay_num or product_num there, with cart_num here.
-- * Tables: no edition has eb_store_order_address (its orders carry one address text), nor a merchant's alert_phone,
--   and the single-shop edition has neither merchants nor refund orders.
-- * Codes: status and refund_status mean other things in each edition. Those used here stand beside their columns.

CREATE TABLE IF NOT EXISTS eb_user (
  uid             INTEGER PRIMARY KEY /*! AUTO_INCREMENT */,
  nickname        VARCHAR(64) NOT NULL,
  real_name       VARCHAR(32) NOT NULL DEFAULT '',
  phone           VARCHAR(18) NULL,                    -- none: the user never gave one
  spread_uid      INTEGER NOT NULL DEFAULT 0,          -- who brought this user, 0: nobody. May name a user who is gone
  brokerage_price BIGINT NOT NULL DEFAULT 0,           -- fen: commission credited and not yet withdrawn
  status          INTEGER NOT NULL DEFAULT 1,          -- 1 active, 0 locked
  create_time     DATETIME NOT NULL
) /*! ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci */;
CREATE INDEX eb_user_spread ON eb_user (spread_uid);

CREATE TABLE IF NOT EXISTS eb_merchant (
  id          INTEGER PRIMARY KEY /*! AUTO_INCREMENT */,
  mer_name    VARCHAR(64) NOT NULL,
  alert_phone VARCHAR(18) NULL,                        -- who is told when something goes wrong
  status      INTEGER NOT NULL DEFAULT 1,              -- 1 open, 0 closed
  create_time DATETIME NOT NULL
) /*! ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci */;

CREATE TABLE IF NOT EXISTS eb_store_order (
  id            INTEGER PRIMARY KEY /*! AUTO_INCREMENT */,
  order_id      VARCHAR(32) NOT NULL UNIQUE,           -- the order number, which may hold letters
  uid           INTEGER NOT NULL,
  mer_id        INTEGER NOT NULL DEFAULT 0,
  total_num     INTEGER NOT NULL DEFAULT 0,            -- pieces, all lines together
  total_price   BIGINT NOT NULL DEFAULT 0,             -- fen: lines + freight
  freight       BIGINT NOT NULL DEFAULT 0,             -- fen
  coupon_price  BIGINT NOT NULL DEFAULT 0,             -- fen: taken off
  pay_price     BIGINT NOT NULL DEFAULT 0,             -- fen: total_price - coupon_price
  paid          INTEGER NOT NULL DEFAULT 0,            -- 0 unpaid, 1 paid
  pay_type      VARCHAR(32) NOT NULL DEFAULT '',       -- weixin, alipay, yue (balance), empty while unpaid
  pay_time      DATETIME NULL,
  status        INTEGER NOT NULL DEFAULT 0,            -- 0 to ship, 1 shipped, 2 received, 3 done, 9 cancelled
  refund_status INTEGER NOT NULL DEFAULT 0,            -- of the whole order: 0 none, 1 applied for, 2 refunded, 3 refunding
  delivery_name VARCHAR(64) NULL,                      -- carrier
  delivery_id   VARCHAR(64) NULL,                      -- the carrier's number
  mark          VARCHAR(512) NULL,                     -- the buyer's remark
  create_time   DATETIME NOT NULL
) /*! ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci */;
CREATE INDEX eb_store_order_uid ON eb_store_order (uid);
CREATE INDEX eb_store_order_mer ON eb_store_order (mer_id, create_time);
CREATE INDEX eb_store_order_time ON eb_store_order (create_time);

CREATE TABLE IF NOT EXISTS eb_store_order_info (
  id           INTEGER PRIMARY KEY /*! AUTO_INCREMENT */,
  order_no     VARCHAR(32) NOT NULL,                   -- eb_store_order.order_id
  product_id   INTEGER NOT NULL,
  product_name VARCHAR(128) NOT NULL,
  sku          VARCHAR(128) NOT NULL DEFAULT '',       -- which variant, in words
  cart_num     INTEGER NOT NULL,                       -- pieces
  price        BIGINT NOT NULL                         -- fen a piece
) /*! ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci */;
CREATE INDEX eb_store_order_info_order ON eb_store_order_info (order_no);

-- At most one row an order. None: the buyer fetches the goods.
CREATE TABLE IF NOT EXISTS eb_store_order_address (
  id         INTEGER PRIMARY KEY /*! AUTO_INCREMENT */,
  order_no   VARCHAR(32) NOT NULL UNIQUE,
  real_name  VARCHAR(32) NOT NULL,
  user_phone VARCHAR(18) NOT NULL,
  province   VARCHAR(64) NOT NULL,
  city       VARCHAR(64) NOT NULL,
  district   VARCHAR(64) NOT NULL,
  detail     VARCHAR(256) NOT NULL
) /*! ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci */;

CREATE TABLE IF NOT EXISTS eb_store_refund_order (
  id                INTEGER PRIMARY KEY /*! AUTO_INCREMENT */,
  refund_order_no   VARCHAR(32) NOT NULL UNIQUE,
  order_no          VARCHAR(32) NOT NULL,
  uid               INTEGER NOT NULL,
  mer_id            INTEGER NOT NULL DEFAULT 0,
  refund_price      BIGINT NOT NULL,                   -- fen
  refund_reason_wap VARCHAR(256) NOT NULL DEFAULT '',  -- the buyer's reason
  refund_status     INTEGER NOT NULL DEFAULT 0,        -- 0 pending, 1 refused, 2 refunding, 3 refunded, 4 to be sent back, 5 on its way back, 6 withdrawn
  create_time       DATETIME NOT NULL,
  refund_time       DATETIME NULL                      -- when the money went back
) /*! ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci */;
CREATE INDEX eb_store_refund_order_order ON eb_store_refund_order (order_no);
CREATE INDEX eb_store_refund_order_mer ON eb_store_refund_order (mer_id, create_time);

-- Nothing here keeps a commission from being written twice: that each run's writes count once is the runtime's doing.
CREATE TABLE IF NOT EXISTS eb_user_brokerage_record (
  id              INTEGER PRIMARY KEY /*! AUTO_INCREMENT */,
  uid             INTEGER NOT NULL,                    -- who gets it
  link_id         VARCHAR(32) NOT NULL,                -- what it is for: an order's number or id, a refund's number
  link_type       VARCHAR(32) NOT NULL,                -- order, refund, extract, yue
  type            INTEGER NOT NULL DEFAULT 1,          -- 1 added, 2 taken
  title           VARCHAR(64) NOT NULL DEFAULT '',
  price           BIGINT NOT NULL DEFAULT 0,           -- fen
  balance         BIGINT NULL,                         -- fen: eb_user.brokerage_price right after, where the writer knew it
  mark            VARCHAR(512) NOT NULL DEFAULT '',
  status          INTEGER NOT NULL DEFAULT 1,          -- 1 created, 2 frozen, 3 credited, 4 void
  brokerage_level INTEGER NOT NULL DEFAULT 1,          -- 1 the buyer's spreader, 2 that one's spreader
  create_time     DATETIME NOT NULL
) /*! ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci */;
CREATE INDEX eb_user_brokerage_record_link ON eb_user_brokerage_record (link_type, link_id);
CREATE INDEX eb_user_brokerage_record_uid ON eb_user_brokerage_record (uid, create_time);

CREATE TABLE IF NOT EXISTS eb_store_order_status (
  id             INTEGER PRIMARY KEY /*! AUTO_INCREMENT */,
  oid            INTEGER NOT NULL,                     -- eb_store_order.id
  change_type    VARCHAR(32) NOT NULL,                 -- cache_key_create_order, pay_success, express, user_take_delivery, ...
  change_message VARCHAR(256) NOT NULL DEFAULT '',
  create_time    DATETIME NOT NULL
) /*! ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci */;
CREATE INDEX eb_store_order_status_oid ON eb_store_order_status (oid);
