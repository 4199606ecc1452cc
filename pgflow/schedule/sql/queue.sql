-- What pgflow adds to procrastinate's tables. It is executed in the queue's own schema.

-- Up to when each schedule was looked at, and its newest firing. Whoever defers firings holds the
-- row's lock, so each is deferred once.
CREATE TABLE IF NOT EXISTS pgflow_schedules (
    pipeline text PRIMARY KEY,
    looked_at timestamptz NOT NULL,
    newest timestamptz
);

-- Guards the order of pipelines: a firing whose pipeline reads what others write is held (it is
-- put off to the year 9999) while firings of those, of the same or an earlier instant, are not
-- over. Two that wait for each other, as two versions of a project may say, are both let go.
CREATE OR REPLACE FUNCTION pgflow_let_go() RETURNS bigint LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
    _count bigint;
BEGIN
    UPDATE procrastinate_jobs SET scheduled_at = NULL
     WHERE id IN (
        SELECT j.id FROM procrastinate_jobs AS j
         WHERE j.status = 'todo' AND j.scheduled_at >= '9999-01-01 00:00Z'
           AND NOT EXISTS (
            SELECT FROM procrastinate_jobs AS u
             WHERE u.status IN ('todo', 'doing')
               AND u.task_name = j.task_name
               AND j.args -> 'after' ? (u.args ->> 'pipeline')
               AND (u.args ->> 'instant')::timestamptz <= (j.args ->> 'instant')::timestamptz
               AND NOT coalesce(u.args -> 'after' ? (j.args ->> 'pipeline'), false))
         ORDER BY j.id FOR UPDATE OF j SKIP LOCKED);
    GET DIAGNOSTICS _count = ROW_COUNT;
    IF _count > 0 THEN
        PERFORM pg_notify('procrastinate_any_queue_v1',
                          json_build_object('type', 'job_inserted', 'job_id', 0)::text);
    END IF;
    RETURN _count;
END;
$$;

-- Guards against idle workers: procrastinate wakes them when a job is inserted, not when the one
-- is over that the next job of the same pipeline, or of a pipeline that reads it, has waited for.
CREATE OR REPLACE FUNCTION pgflow_wake_workers() RETURNS trigger LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
    PERFORM pgflow_let_go();
    IF EXISTS (SELECT FROM procrastinate_jobs
                WHERE lock = OLD.lock AND status = 'todo' AND id <> OLD.id) THEN
        PERFORM pg_notify('procrastinate_any_queue_v1',
                          json_build_object('type', 'job_inserted', 'job_id', OLD.id)::text);
    END IF;
    RETURN NULL;
END;
$$;

DROP TRIGGER IF EXISTS pgflow_wake_workers_after_update ON procrastinate_jobs;
CREATE TRIGGER pgflow_wake_workers_after_update AFTER UPDATE OF status ON procrastinate_jobs
    FOR EACH ROW WHEN (OLD.status IN ('todo', 'doing') AND NEW.status <> 'doing')
    EXECUTE FUNCTION pgflow_wake_workers();

DROP TRIGGER IF EXISTS pgflow_wake_workers_after_delete ON procrastinate_jobs;
CREATE TRIGGER pgflow_wake_workers_after_delete AFTER DELETE ON procrastinate_jobs
    FOR EACH ROW WHEN (OLD.status IN ('todo', 'doing'))
    EXECUTE FUNCTION pgflow_wake_workers();
