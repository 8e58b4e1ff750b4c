"""By which calendar each dataset's partitions were made: until now, days in UTC."""

from __future__ import annotations

STATEMENTS = """
create table calendars (dataset text primary key, every text not null, zone text not null);
insert into calendars (dataset, every, zone)
    select distinct model, 'day', 'UTC' from partitions where layer = 'raw'"""
