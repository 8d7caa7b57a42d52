WITH e AS (INSERT INTO submitted DEFAULT VALUES RETURNING id) SELECT graphile_worker.add_job('link', json_build_object('id', id)) FROM e;
