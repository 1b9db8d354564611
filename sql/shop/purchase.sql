-- What the purchase platform wants to know of a refund and the shop's own tables do not hold, for MySQL 8, MariaDB and
-- SQLite alike. Run once in the shop's database. All of it is optional: a hook's settings stand in for missing rows.
-- Money is in fen.

-- Who a user is at the company that buys.
CREATE TABLE IF NOT EXISTS purchase_employee (
  uid             INTEGER NOT NULL PRIMARY KEY,        -- eb_user.uid
  employee_id     VARCHAR(64) NULL,                    -- the platform's id of the person; none: the uid
  employee_number VARCHAR(64) NULL,
  unit_id         VARCHAR(64) NULL,                    -- department; none: PURCHASE_UNIT_ID
  unit_name       VARCHAR(128) NULL,
  third_user_id   VARCHAR(128) NULL,                   -- the ids of the company's own system
  third_dept_id   VARCHAR(128) NULL,
  cost_dept_id    VARCHAR(128) NULL,
  cost_project_id VARCHAR(128) NULL
) /*! ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci */;

-- What a user's purchases are charged to.
CREATE TABLE IF NOT EXISTS purchase_cost_attribution (
  uid      INTEGER NOT NULL,
  category INTEGER NOT NULL,                           -- 1 department, 2 project
  cost_id  VARCHAR(64) NOT NULL,
  name     VARCHAR(128) NOT NULL,
  PRIMARY KEY (uid, category, cost_id)
) /*! ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci */;

-- What is special about one refund. No row: the company paid all of it, and the supplier has no numbers of its own.
CREATE TABLE IF NOT EXISTS purchase_refund (
  refund_order_no          VARCHAR(32) NOT NULL PRIMARY KEY,
  supplier_order_id        VARCHAR(64) NULL,
  supplier_refund_order_id VARCHAR(64) NULL,
  supplier_name            VARCHAR(128) NULL,          -- none: the merchant's name
  personal_pay             BIGINT NOT NULL DEFAULT 0,  -- the part of refund_price that the employee had paid
  coupon_amount            BIGINT NOT NULL DEFAULT 0,
  red_envelope             BIGINT NOT NULL DEFAULT 0
) /*! ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci */;

-- Which goods a refund is for. No rows: all lines of the order.
CREATE TABLE IF NOT EXISTS purchase_refund_item (
  refund_order_no VARCHAR(32) NOT NULL,
  product_id      VARCHAR(64) NOT NULL,
  product_name    VARCHAR(128) NOT NULL,
  sku             VARCHAR(128) NOT NULL DEFAULT '',
  cart_num        INTEGER NOT NULL,
  price           BIGINT NOT NULL,                     -- a piece
  brand_name      VARCHAR(64) NULL,
  unit            VARCHAR(32) NULL,
  PRIMARY KEY (refund_order_no, product_id, sku)
) /*! ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci */;
