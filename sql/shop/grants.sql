-- The account that scripts use (SHOP_DATABASE_URL): data only, no DDL, no files, no other schemas.
-- Replace the database `shop`, the account and the password; grant single tables instead of shop.* where you can.
CREATE USER IF NOT EXISTS 'sandhook_scripts'@'%' IDENTIFIED BY 'choose a password';
GRANT SELECT, INSERT, UPDATE, DELETE ON shop.* TO 'sandhook_scripts'@'%';
-- Whoever may create tables runs sql/shop/effects.sql once in the shop's database.
-- With an outbox (sql/shop/outbox.sql) and single tables granted, this one too: Sandhook reads, marks and deletes its
-- rows; with INSERT as well, scripts may put rows into it.
-- GRANT SELECT, UPDATE, DELETE ON shop.sandhook_outbox TO 'sandhook_scripts'@'%';
