-- What the hooks for a Haidian-like ERP (hooks/haidian/) keep in the shop's database, for MySQL 8, MariaDB and SQLite
-- alike. May be run again. Money is in fen; times are the shop's own clock.

-- Coupons that the ERP's tills may ask for and use. The shop issues them.
CREATE TABLE IF NOT EXISTS haidian_coupon (
  id               INTEGER PRIMARY KEY /*! AUTO_INCREMENT */, -- coupons_id
  coupons_sn       VARCHAR(64) NOT NULL UNIQUE,
  coupons_name     VARCHAR(128) NOT NULL,
  uid              INTEGER NOT NULL,                   -- whose it is
  coupons_price    BIGINT NOT NULL,                    -- fen it takes off
  min_goods_amount BIGINT NOT NULL DEFAULT 0,          -- fen that the goods must cost
  start_time       DATETIME NOT NULL,
  end_time         DATETIME NOT NULL,
  status           INTEGER NOT NULL DEFAULT 0,         -- 0 not used, 1 used
  is_delete        INTEGER NOT NULL DEFAULT 0,         -- 1: withdrawn
  use_time         DATETIME NULL,
  order_no         VARCHAR(32) NULL UNIQUE             -- the shop's order that it was used for, where the shop knows
) /*! ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci */;

-- Orders that the ERP gave us. They are not in eb_store_order: nothing else in the shop takes them for its own.
CREATE TABLE IF NOT EXISTS haidian_order (
  order_sn     VARCHAR(32) NOT NULL PRIMARY KEY,
  source       VARCHAR(16) NOT NULL,                   -- order-add (online), order-receive (sold in a branch)
  uid          INTEGER NOT NULL DEFAULT 0,             -- eb_user.uid, 0: not a member
  mer_id       INTEGER NOT NULL DEFAULT 0,             -- HAIDIAN_MER_ID when it came, 0 without
  order_amount BIGINT NOT NULL,
  goods_amount BIGINT NOT NULL,
  shipping_fee BIGINT NOT NULL,
  order_type   INTEGER NOT NULL,                       -- 1 picked up, 2 delivered
  consignee    VARCHAR(64) NOT NULL DEFAULT '',
  address      VARCHAR(256) NOT NULL DEFAULT '',
  add_time     DATETIME NOT NULL,
  pay_time     DATETIME NULL,
  goods        MEDIUMTEXT NOT NULL,                    -- JSON: the document's order_goods
  digest       VARCHAR(64) NOT NULL,                   -- SHA-256 of the order, to tell a repetition from a change
  status       INTEGER NOT NULL DEFAULT 0,             -- 0 to be sent, 1 sent, 2 picked up
  express_no   VARCHAR(64) NULL,
  create_time  DATETIME NOT NULL
  /*! , KEY haidian_order_uid (uid), KEY haidian_order_time (add_time) */
) /*! ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci */;

-- The ERP's goods, and which of our products each one is. Whoever maps them fills product_id and sku.
CREATE TABLE IF NOT EXISTS haidian_goods (
  goods_no    VARCHAR(64) NOT NULL PRIMARY KEY,
  goods_name  VARCHAR(128) NOT NULL,
  goods_price BIGINT NOT NULL DEFAULT 0,
  product_id  INTEGER NULL,
  sku         VARCHAR(128) NOT NULL DEFAULT '',        -- eb_store_order_info.sku
  update_time DATETIME NOT NULL,
  UNIQUE (product_id, sku)
) /*! ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci */;

-- Changes of a member's points in the ERP. The member's balance is their sum.
CREATE TABLE IF NOT EXISTS haidian_points (
  points_sn   VARCHAR(64) NOT NULL PRIMARY KEY,
  uid         INTEGER NOT NULL,
  points      INTEGER NOT NULL,                        -- negative: taken off
  remark      VARCHAR(128) NOT NULL DEFAULT '',
  add_time    DATETIME NOT NULL
  /*! , KEY haidian_points_uid (uid) */
) /*! ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci */;

-- What has been exchanged, so that nothing is sent twice, nor sent back to where it came from.
CREATE TABLE IF NOT EXISTS haidian_done (
  what        VARCHAR(32) NOT NULL,                    -- order-add, order-send, user-add
  number      VARCHAR(64) NOT NULL,                    -- an order's number, a member's mobile
  create_time DATETIME NOT NULL,
  PRIMARY KEY (what, number)
) /*! ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci */;
