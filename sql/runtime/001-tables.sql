-- The runtime's own tables. Frozen once released: change them by a file with the next number.
-- One text for MySQL/MariaDB and SQLite: what only MySQL knows stands in /*! … */, which SQLite takes for a comment.
-- Times are milliseconds since the epoch; documents are JSON text; an owner is a merchant's id as text, '' the platform.

CREATE TABLE IF NOT EXISTS sandhook_hooks (
  id VARCHAR(36) NOT NULL PRIMARY KEY,
  owner VARCHAR(64) NOT NULL,
  path VARCHAR(191) NOT NULL,
  name VARCHAR(191) NOT NULL,
  description TEXT NOT NULL,
  events TEXT NOT NULL,
  enabled TINYINT NOT NULL,
  builtin TINYINT NOT NULL,
  is_public TINYINT NOT NULL,
  version INTEGER NULL,
  limits TEXT NOT NULL,
  retry TEXT NOT NULL,
  transaction_mode VARCHAR(8) NOT NULL,
  env TEXT NULL,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  UNIQUE (owner, path)
) /*! ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin */;

CREATE TABLE IF NOT EXISTS sandhook_versions (
  hook_id VARCHAR(36) NOT NULL,
  version INTEGER NOT NULL,
  script MEDIUMTEXT NOT NULL,
  compiled MEDIUMTEXT NULL,
  created_by VARCHAR(191) NOT NULL,
  created_at BIGINT NOT NULL,
  PRIMARY KEY (hook_id, version)
) /*! ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin */;

CREATE TABLE IF NOT EXISTS sandhook_events (
  id VARCHAR(128) NOT NULL PRIMARY KEY,
  event_key VARCHAR(100) NOT NULL,
  payload MEDIUMTEXT NOT NULL,
  happened_at BIGINT NOT NULL,
  owner VARCHAR(64) NOT NULL,
  ordering_key VARCHAR(191) NULL,
  source VARCHAR(16) NOT NULL,
  depth INTEGER NOT NULL,
  data MEDIUMTEXT NULL,
  received_at BIGINT NOT NULL
) /*! ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin */;
CREATE INDEX sandhook_events_received ON sandhook_events (received_at, id);
CREATE INDEX sandhook_events_key ON sandhook_events (ordering_key, received_at);

-- The queue. `lane` stands for hook and ordering key; null: any order. `open_lane` repeats it until the execution is
-- finished, `running_lane` while it runs: its uniqueness lets no lane run twice at once. `due_at` is set exactly while
-- the execution may be claimed.
CREATE TABLE IF NOT EXISTS sandhook_executions (
  id VARCHAR(36) NOT NULL PRIMARY KEY,
  event_id VARCHAR(128) NOT NULL,
  event_key VARCHAR(100) NOT NULL,
  hook_id VARCHAR(36) NOT NULL,
  hook_path VARCHAR(191) NOT NULL,
  owner VARCHAR(64) NOT NULL,
  status VARCHAR(12) NOT NULL,
  lane VARCHAR(44) NULL,
  open_lane VARCHAR(44) NULL,
  running_lane VARCHAR(44) NULL UNIQUE,
  due_at BIGINT NULL,
  node VARCHAR(36) NULL,
  lease_until BIGINT NULL,
  attempts INTEGER NOT NULL,
  runs INTEGER NOT NULL,
  crashes INTEGER NOT NULL,
  result MEDIUMTEXT NULL,
  error TEXT NULL,
  created_at BIGINT NOT NULL,
  started_at BIGINT NULL,
  finished_at BIGINT NULL,
  duration_ms BIGINT NULL
) /*! ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin */;
CREATE INDEX sandhook_executions_due ON sandhook_executions (due_at, id);
CREATE INDEX sandhook_executions_hook_due ON sandhook_executions (hook_id, due_at, id);
CREATE INDEX sandhook_executions_lane ON sandhook_executions (open_lane, id);
CREATE INDEX sandhook_executions_lease ON sandhook_executions (lease_until);
CREATE INDEX sandhook_executions_event ON sandhook_executions (event_id);
CREATE INDEX sandhook_executions_status ON sandhook_executions (status, id);
CREATE INDEX sandhook_executions_hook ON sandhook_executions (hook_id, id);

-- One row for each run of a script; a run that the runtime broke off repeats its attempt's number.
CREATE TABLE IF NOT EXISTS sandhook_attempts (
  execution_id VARCHAR(36) NOT NULL,
  run INTEGER NOT NULL,
  attempt INTEGER NOT NULL,
  version INTEGER NOT NULL,
  started_at BIGINT NOT NULL,
  duration_ms BIGINT NOT NULL,
  cpu_ms BIGINT NOT NULL,
  result MEDIUMTEXT NULL,
  error TEXT NULL,
  logs MEDIUMTEXT NOT NULL,
  logs_cut INTEGER NOT NULL,
  calls MEDIUMTEXT NOT NULL,
  PRIMARY KEY (execution_id, run)
) /*! ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin */;

-- Completed outgoing calls of attempts that are not settled yet.
CREATE TABLE IF NOT EXISTS sandhook_journal (
  execution_id VARCHAR(36) NOT NULL,
  attempt INTEGER NOT NULL,
  call_no INTEGER NOT NULL,
  fingerprint VARCHAR(64) NOT NULL,
  answer LONGTEXT NOT NULL,
  PRIMARY KEY (execution_id, attempt, call_no)
) /*! ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin */;

CREATE TABLE IF NOT EXISTS sandhook_env (
  owner VARCHAR(64) NOT NULL,
  name VARCHAR(128) NOT NULL,
  value MEDIUMTEXT NOT NULL,
  secret TINYINT NOT NULL,
  hosts TEXT NULL,
  updated_at BIGINT NOT NULL,
  PRIMARY KEY (owner, name)
) /*! ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin */;

CREATE TABLE IF NOT EXISTS sandhook_tokens (
  id VARCHAR(36) NOT NULL PRIMARY KEY,
  name VARCHAR(191) NOT NULL,
  hash VARCHAR(64) NOT NULL UNIQUE,
  scopes TEXT NOT NULL,
  owner VARCHAR(64) NOT NULL,
  created_at BIGINT NOT NULL,
  expires_at BIGINT NULL
) /*! ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin */;

CREATE TABLE IF NOT EXISTS sandhook_audit (
  id VARCHAR(36) NOT NULL PRIMARY KEY,
  at BIGINT NOT NULL,
  actor VARCHAR(191) NOT NULL,
  owner VARCHAR(64) NOT NULL,
  action VARCHAR(64) NOT NULL,
  subject VARCHAR(255) NOT NULL,
  state_before MEDIUMTEXT NULL,
  state_after MEDIUMTEXT NULL
) /*! ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin */;

-- Facts that all nodes share: the hooks' revision, whether the demo is on.
CREATE TABLE IF NOT EXISTS sandhook_state (
  name VARCHAR(64) NOT NULL PRIMARY KEY,
  value TEXT NOT NULL
) /*! ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin */;

-- What is known of the outside systems that config/targets.json names: recent calls, who waits, whether they are down.
CREATE TABLE IF NOT EXISTS sandhook_targets (
  name VARCHAR(191) NOT NULL PRIMARY KEY,
  state MEDIUMTEXT NOT NULL,
  updated_at BIGINT NOT NULL
) /*! ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin */;

-- What one node at a time does, and until when.
CREATE TABLE IF NOT EXISTS sandhook_leases (
  name VARCHAR(64) NOT NULL PRIMARY KEY,
  node VARCHAR(36) NOT NULL,
  lease_until BIGINT NOT NULL
) /*! ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin */;

-- Messages that a sender says it sent, and those that came, by fingerprint. `missing_since` is set exactly while the
-- last report is not answered by a message.
CREATE TABLE IF NOT EXISTS sandhook_sent_messages (
  fingerprint VARCHAR(64) NOT NULL PRIMARY KEY,
  topic VARCHAR(255) NOT NULL,
  body MEDIUMTEXT NULL,
  reported_at BIGINT NULL,
  received_at BIGINT NULL,
  missing_since BIGINT NULL,
  event_ids TEXT NULL
) /*! ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin */;
CREATE INDEX sandhook_sent_missing ON sandhook_sent_messages (missing_since, fingerprint);
CREATE INDEX sandhook_sent_times ON sandhook_sent_messages (reported_at, received_at);

-- Which id of the ERP's stands for which of the front's, as messages told.
CREATE TABLE IF NOT EXISTS sandhook_id_pairs (
  kind VARCHAR(32) NOT NULL,
  erp_id VARCHAR(128) NOT NULL,
  front_id VARCHAR(128) NOT NULL,
  updated_at BIGINT NOT NULL,
  PRIMARY KEY (kind, erp_id)
) /*! ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin */;

-- Messages that could not be read or that no row of config/topics.json fits, until they are fed again.
CREATE TABLE IF NOT EXISTS sandhook_dead_messages (
  id VARCHAR(128) NOT NULL PRIMARY KEY,
  topic VARCHAR(255) NOT NULL,
  reason TEXT NOT NULL,
  body MEDIUMTEXT NOT NULL,
  sent_at BIGINT NULL,
  received_at BIGINT NOT NULL
) /*! ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin */;
CREATE INDEX sandhook_dead_messages_received ON sandhook_dead_messages (received_at, id);
