"""Several versions may answer one request: whom each was for, by which rollout, how long it took, and why it failed."""

from __future__ import annotations

STATEMENTS = """
alter table predictions add column role text, add column rollout text, add column share int,
    add column seconds double precision, add column failed text;
alter table predictions drop constraint predictions_pkey;
alter table predictions add primary key (model, as_of, request_id, position, version);
alter table loadings add column share int"""
