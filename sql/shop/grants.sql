-- The account that scripts use (SHOP_DATABASE_URL): data only, no DDL, no files, no other schemas.
-- Replace the database `shop`, the account and the password; grant single tables instead of shop.* where you can.
CREATE USER IF NOT EXISTS 'sandhook_scripts'@'%' IDENTIFIED BY 'choose a password';
GRANT SELECT, INSERT, UPDATE, DELETE ON shop.* TO 'sandhook_scripts'@'%';
-- Nothing else: no EXECUTE (a stored function or procedure runs with its author's rights), no FILE, no TRIGGER, no
-- CREATE TEMPORARY TABLES, no LOCK TABLES. Where shop.* has views, grant single tables and leave the views out that show
-- more than the scripts may see: with SQL SECURITY DEFINER, the default, a view reads whatever its author may.
-- What merchants' hooks see of these tables, config/tables.json says; no grant does.
--
-- Sandhook's own tables in this database are closed to scripts, whatever is granted; it uses them itself.
-- Whoever may create tables runs sql/shop/effects.sql once in the shop's database; with single tables granted:
-- GRANT SELECT, INSERT, DELETE ON shop.hook_effects TO 'sandhook_scripts'@'%';
-- With an outbox (sql/shop/outbox.sql) and single tables granted, this one too: Sandhook reads, marks and deletes its rows.
-- GRANT SELECT, UPDATE, DELETE ON shop.sandhook_outbox TO 'sandhook_scripts'@'%';
