#!/usr/bin/env bash
# Runs once, when the MariaDB volume is new: an empty database `shop`, the account that scripts use with data rights
# only (as in sql/shop/grants.sql), and the table of effects, which that account may not create itself.
set -euo pipefail

password=${SHOP_DB_PASSWORD//\\/\\\\}
password=${password//\'/\'\'}

mariadb --user=root --password="$MARIADB_ROOT_PASSWORD" <<SQL
CREATE DATABASE IF NOT EXISTS shop CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci;
CREATE USER IF NOT EXISTS 'sandhook_scripts'@'%' IDENTIFIED BY '$password';
GRANT SELECT, INSERT, UPDATE, DELETE ON shop.* TO 'sandhook_scripts'@'%';
SQL
mariadb --user=root --password="$MARIADB_ROOT_PASSWORD" shop < "${EFFECTS_SQL:-/sandhook/effects.sql}"
