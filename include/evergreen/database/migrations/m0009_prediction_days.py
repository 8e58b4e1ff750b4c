"""The prediction log in one table per model and UTC day, so that days are deleted by dropping their tables, whatever
they hold. The rows of before are moved: this takes time in proportion to them.

Tables are made and dropped by functions with the owner's rights: a login that may only read and write rows needs no
others. A day's table is attached, and not created in place, since attaching does not keep others from reading and
writing meanwhile.
"""

from __future__ import annotations

STATEMENTS = """
alter table predictions rename to predictions_before;
alter table predictions_before rename constraint predictions_pkey to predictions_before_pkey;
create table predictions (
    model text not null, version bigint not null, request_id text not null, position int not null, entity text not null,
    as_of timestamptz not null, features_at timestamptz, features jsonb not null, prediction double precision,
    logged_at timestamptz not null default now(), probabilities jsonb,
    primary key (model, as_of, request_id, position)
) partition by list (model);
create function predictions_table(of_model text) returns text language sql immutable as
    $$ select 'predictions_of_' || of_model $$;
create function predictions_table(of_model text, of_day date) returns text language sql immutable as
    $$ select 'predictions_' || to_char(of_day, 'YYYYMMDD') || '_' || of_model $$;
create function take_predictions(of_model text, of_day date) returns void
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
        execute format('alter table predictions attach partition %I for values in (%L)', days, of_model);
    end if;
    if not exists (select from pg_class where relnamespace = current_schema()::regnamespace and relname = day) then
        execute format('create table %I (like predictions including defaults)', day);
        execute format('alter table %I attach partition %I for values from (%L) to (%L)', days, day,
            of_day::timestamp at time zone 'UTC', (of_day + 1)::timestamp at time zone 'UTC');
    end if;
end $$;
create function predictions_days(of_model text) returns setof date
language sql stable set search_path from current as $$
    select to_date(substr(c.relname, 13, 8), 'YYYYMMDD') from pg_inherits i join pg_class c on c.oid = i.inhrelid
    join pg_class p on p.oid = i.inhparent
    where p.relnamespace = current_schema()::regnamespace and p.relname = predictions_table(of_model) order by 1
$$;
create function drop_predictions(of_model text, of_day date) returns void
language plpgsql security definer set search_path from current as $$
begin
    perform pg_advisory_xact_lock(hashtextextended(predictions_table(of_model), 0));
    execute format('drop table if exists %I', predictions_table(of_model, of_day));
end $$;
select take_predictions(model, day) from (
    select distinct model, (as_of at time zone 'UTC')::date as day from predictions_before) as days;
insert into predictions (model, version, request_id, position, entity, as_of, features_at, features, prediction,
    logged_at, probabilities)
select model, version, request_id, position, entity, as_of, features_at, features, prediction, logged_at, probabilities
from predictions_before;
drop table predictions_before"""
