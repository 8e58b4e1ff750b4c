"""What each published partition was made from; of those that an earlier release published nothing is known."""

from __future__ import annotations

STATEMENTS = """
create table publications (
    model text, layer text, name text, partition text, table_version bigint,
    rows bigint not null, content_hash text not null, known_at timestamptz not null, inputs jsonb,
    at timestamptz not null default now(),
    primary key (model, layer, name, partition, table_version)
);
insert into publications (model, layer, name, partition, table_version, rows, content_hash, known_at)
select model, layer, name, partition, table_version, rows, content_hash, known_at from partitions
where layer <> 'online'"""
