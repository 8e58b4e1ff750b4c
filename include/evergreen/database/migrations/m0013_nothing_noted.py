"""Postgres notes no values of the columns that hold people's keys and rows, and forgets those that it had noted.

Its statistics quote the most common values of a column and the bounds of the others, and keep them when the rows are
deleted. No query is planned by these columns. To give a column its own type again is what makes Postgres forget: it
writes no row.
"""

from __future__ import annotations

STATEMENTS = """
alter table predictions alter column entity type text, alter column entity set statistics 0,
    alter column features type jsonb, alter column features set statistics 0;
alter table answers alter column content type bytea, alter column content set statistics 0;
alter table erasures alter column key type text, alter column key set statistics 0;
create or replace function take_predictions(of_model text, of_day date) returns void
language plpgsql security definer set search_path from current as $$
declare
    days text := predictions_table(of_model);
    day text := predictions_table(of_model, of_day);
begin
    if exists (select from pg_class where relnamespace = current_schema()::regnamespace and relname = day) then
        return;
    end if;
    perform pg_advisory_xact_lock(hashtextextended(days, 0));
    if not exists (select from pg_class where relnamespace = current_schema()::regnamespace and relname = days) then
        execute format('create table %I (like predictions including defaults) partition by range (as_of)', days);
        execute format('alter table %I alter entity set statistics 0, alter features set statistics 0', days);
        execute format('alter table predictions attach partition %I for values in (%L)', days, of_model);
    end if;
    if not exists (select from pg_class where relnamespace = current_schema()::regnamespace and relname = day) then
        execute format('create table %I (like predictions including defaults)', day);
        execute format('alter table %I alter entity set statistics 0, alter features set statistics 0', day);
        execute format('alter table %I attach partition %I for values from (%L) to (%L)', days, day,
            of_day::timestamp at time zone 'UTC', (of_day + 1)::timestamp at time zone 'UTC');
    end if;
end $$;"""
