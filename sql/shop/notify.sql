-- What /lib/notify keeps while a group's robot takes no more messages: they go out together, as one digest.
-- Run it once in the shop's database; without it such notices wait one by one.
CREATE TABLE IF NOT EXISTS notify_waiting (
  id INTEGER PRIMARY KEY /*! AUTO_INCREMENT */,
  robot VARCHAR(64) NOT NULL,
  message TEXT NOT NULL,
  mobiles TEXT NOT NULL,
  created_at DATETIME NOT NULL
) /*! ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci */;
