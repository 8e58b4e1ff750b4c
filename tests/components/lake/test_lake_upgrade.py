"""The tables of a home that an earlier release made: they have every column that this one asks for."""

from __future__ import annotations

from evergreen.lake import catalogue, postgres
from evergreen.registry import audit, records
from evergreen.serve import predictions
from evergreen.settings import Settings

# As the first release makes them. `create table if not exists` leaves such a table as it is: a column that is new needs an `alter table`.
FIRST = """
create table audit (
    id text primary key, at timestamptz not null default now(), as_of timestamptz, model text not null,
    event text not null, version bigint, actor text not null, reason text not null, evidence jsonb not null
);
create table predictions (
    model text not null, version bigint not null, request_id text not null, position int not null, entity text not null,
    as_of timestamptz not null, features_at timestamptz, features jsonb not null,
    prediction double precision not null, logged_at timestamptz not null default now(),
    primary key (request_id, position)
);
create table partitions (
    model text, layer text, name text, partition text,
    rows bigint not null, content_hash text not null, inputs_hash text,
    table_version bigint not null, known_at timestamptz not null,
    primary key (model, layer, name, partition)
);
insert into audit (id, model, event, version, actor, reason, evidence)
values ('promotion/shop/3', 'shop', 'promotion', 3, 'me', 'it was good', '{"replaced": 2}');
"""
COLUMNS = (
    "select table_name, column_name, data_type from information_schema.columns"
    " where table_schema = %s and table_name in ('audit', 'predictions', 'partitions')"
)


def test_an_old_homes_tables_have_the_columns_of_new_ones(home: Settings) -> None:
    tables = (audit.TABLE, predictions._DDL, catalogue._DDL)
    with postgres.connect() as connection:
        connection.execute(FIRST)
    for table in tables:
        postgres.ensure_table(table)
    with postgres.connect() as connection:
        connection.execute("create schema fresh")
        connection.execute("set search_path to fresh")
        for table in tables:
            connection.execute(table.encode())
        old, new = (set(connection.execute(COLUMNS, [schema]).fetchall()) for schema in ("public", "fresh"))
    assert old == new and len({table for table, *_ in new}) == 3
    assert audit.standings()["shop"].champion == 3
    assert records.numbers() == {} and records.find_candidate("a run") is None, "nothing was recorded of it yet"
