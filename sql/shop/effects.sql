-- Lies in the shop's database. A run's writes commit together with its row here, so that no run has its effects twice.
CREATE TABLE IF NOT EXISTS hook_effects (
  execution_id VARCHAR(36) NOT NULL PRIMARY KEY,
  result MEDIUMTEXT NULL,
  created_at BIGINT NOT NULL
) /*! ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin */;
CREATE INDEX hook_effects_created ON hook_effects (created_at);
