-- A small graph with gaps, for the workflow gap_fill: two nodes that edges name are missing (gihon, havilah),
-- and two edges have nothing at one end (7, 8).
CREATE TABLE nodes (id TEXT PRIMARY KEY, title TEXT NOT NULL);
CREATE TABLE edges (id INTEGER PRIMARY KEY, source TEXT, target TEXT, kind TEXT);
INSERT INTO nodes VALUES
    ('eden', 'Eden'), ('pishon', 'Pishon'), ('tigris', 'Tigris'), ('euphrates', 'Euphrates');
INSERT INTO edges VALUES
    (1, 'eden', 'pishon', 'waters'), (2, 'eden', 'gihon', 'waters'), (3, 'eden', 'tigris', 'waters'),
    (4, 'eden', 'euphrates', 'waters'), (5, 'pishon', 'havilah', 'winds through'), (6, 'gihon', 'eden', 'leaves'),
    (7, 'tigris', NULL, 'runs along'), (8, '', 'euphrates', 'meets');
