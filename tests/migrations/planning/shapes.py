"""Shapes of databases between which migrations lead, each way and back."""

# ruff: noqa: E501 (two statements are easier to compare when each is one line)
from __future__ import annotations

#: The statements of two declarations, without the schema `app`, which both declare.
SHAPES: dict[str, tuple[list[str], list[str]]] = {
    "fk cycle": (
        [],
        [
            "create table app.a (id int primary key, b_id int)",
            "create table app.b (id int primary key, a_id int references app.a)",
            "alter table app.a add foreign key (b_id) references app.b",
        ],
    ),
    "self fk": (
        [],
        ["create table app.a (id int primary key, up int references app.a)"],
    ),
    "function of table row in check": (
        [],
        [
            "create table app.t (a int, b int)",
            "create function app.ok(app.t) returns boolean language sql immutable return ($1).a > 0",
            "alter table app.t add constraint c check (app.ok(t))",
        ],
    ),
    "default calls function that reads table": (
        [],
        [
            "create table app.t (id int primary key default 1)",
            "create function app.next() returns int language sql as 'select coalesce(max(id),0)+1 from app.t'",
            "alter table app.t alter id set default app.next()",
        ],
    ),
    "sql function reads view later": (
        [],
        [
            "create table app.t (id int)",
            "create view app.v as select id from app.t",
            "create function app.f() returns bigint language sql as 'select count(*) from app.v'",
        ],
    ),
    "two functions call each other": (
        [],
        [
            "create function app.g(i int) returns int language plpgsql as 'begin return app.h(i); end'",
            "create function app.h(i int) returns int language plpgsql as 'begin return app.g(i); end'",
        ],
    ),
    "sql functions call each other": (
        [],
        [
            "create function app.g(i int) returns int language sql as 'select app.h(i)'",
            "create function app.h(i int) returns int language sql as 'select app.g(i)'",
        ],
    ),
    "view col added": (
        ["create table app.t(a int)", "create view app.v as select a from app.t"],
        ["create table app.t(a int, b int)", "create view app.v as select a, b from app.t"],
    ),
    "view col removed": (
        [
            "create table app.t(a int, b int)",
            "create view app.v as select a, b from app.t",
            "create view app.w as select a from app.v",
            "create materialized view app.m as select a from app.w",
            "create index mi on app.m (a)",
            "comment on materialized view app.m is 'x'",
            "grant select on app.m to pg_monitor",
        ],
        [
            "create table app.t(a int)",
            "create view app.v as select a from app.t",
            "create view app.w as select a from app.v",
            "create materialized view app.m as select a from app.w",
            "create index mi on app.m (a)",
            "comment on materialized view app.m is 'x'",
            "grant select on app.m to pg_monitor",
        ],
    ),
    "column type under trigger+policy+rule": (
        [
            "create table app.t(id int primary key, a int)",
            "create function app.tf() returns trigger language plpgsql as 'begin return new; end'",
            "create trigger tr before update of a on app.t for each row when (new.a is not null) execute function app.tf()",
            "alter table app.t enable row level security",
            "create policy p on app.t using (a is not null)",
            "create rule r as on delete to app.t where old.a is null do instead nothing",
            "create index ia on app.t (a)",
            "create index ib on app.t (id) where a is not null",
            "create statistics app.st on id, a from app.t",
        ],
        [
            "create table app.t(id int primary key, a bigint)",
            "create function app.tf() returns trigger language plpgsql as 'begin return new; end'",
            "create trigger tr before update of a on app.t for each row when (new.a is not null) execute function app.tf()",
            "alter table app.t enable row level security",
            "create policy p on app.t using (a is not null)",
            "create rule r as on delete to app.t where old.a is null do instead nothing",
            "create index ia on app.t (a)",
            "create index ib on app.t (id) where a is not null",
            "create statistics app.st on id, a from app.t",
        ],
    ),
    "function return type": (
        [
            "create function app.f(i int) returns int language sql immutable return i",
            "create table app.t(id int, g int generated always as (app.f(id)) stored, d int default app.f(1), check (app.f(id) > 0))",
            "create index ie on app.t (app.f(id))",
            "create view app.v as select app.f(id) as x from app.t",
        ],
        [
            "create function app.f(i int) returns bigint language sql immutable return i",
            "create table app.t(id int, g bigint generated always as (app.f(id)) stored, d bigint default app.f(1), check (app.f(id) > 0))",
            "create index ie on app.t (app.f(id))",
            "create view app.v as select app.f(id) as x from app.t",
        ],
    ),
    "enum rebuild": (
        [
            "create type app.m as enum ('a','b','c')",
            "create table app.t(id int, m app.m default 'a', n app.m, check (m <> 'b'), unique(m))",
            "create index px on app.t (id) where m = 'a'",
            "create view app.v as select m from app.t",
            "create function app.f(app.m) returns app.m language sql immutable return $1",
            "create index fx on app.t (app.f(n))",
            "grant usage on type app.m to pg_monitor",
        ],
        [
            "create type app.m as enum ('b','a')",
            "create table app.t(id int, m app.m default 'a', n app.m, check (m <> 'b'), unique(m))",
            "create index px on app.t (id) where m = 'a'",
            "create view app.v as select m from app.t",
            "create function app.f(app.m) returns app.m language sql immutable return $1",
            "create index fx on app.t (app.f(n))",
            "grant usage on type app.m to pg_monitor",
        ],
    ),
    "enum add": (
        ["create type app.m as enum ('a','b')", "create table app.t(id int, m app.m default 'a')"],
        [
            "create type app.m as enum ('x','a','y','b','z')",
            "create table app.t(id int, m app.m default 'y')",
        ],
    ),
    "serial": (
        [],
        ["create table app.t(id bigserial primary key, b serial)"],
    ),
    "serial to identity": (
        ["create table app.t(id serial primary key)"],
        ["create table app.t(id int generated by default as identity primary key)"],
    ),
    "drop parent and child partition": (
        [],
        [
            "create table app.p(id int, k int) partition by list (k)",
            "create table app.p1 partition of app.p for values in (1)",
            "create index pix on app.p (id)",
        ],
    ),
    "drop col with everything": (
        [
            "create table app.t(id int primary key, a text default 'x', unique(a))",
            "create index ia on app.t (a)",
            "comment on column app.t.a is 'aa'",
        ],
        ["create table app.t(id int primary key)"],
    ),
    "pk change with fk": (
        [
            "create table app.t(id int, b int, constraint t_pk primary key (id), constraint t_b_key unique (b))",
            "create table app.u(t_id int, constraint u_fk foreign key (t_id) references app.t (id))",
        ],
        [
            "create table app.t(id int, b int not null, constraint t_pk primary key (b))",
            "create table app.u(t_id int, constraint u_fk foreign key (t_id) references app.t (b))",
        ],
    ),
    "table to view": (
        ["create table app.x(id int)", "create table app.y(id int)"],
        ["create table app.y(id int)", "create view app.x as select id from app.y"],
    ),
    "view to matview": (
        ["create table app.y(id int)", "create view app.x as select id from app.y"],
        ["create table app.y(id int)", "create materialized view app.x as select id from app.y"],
    ),
    "function to procedure": (
        ["create function app.x() returns void language sql as 'select 1'"],
        ["create procedure app.x() language sql as 'select 1'"],
    ),
    "column to generated": (
        ["create table app.t(a int, b int)"],
        ["create table app.t(a int, b int generated always as (a+1) stored)"],
    ),
    "domain": (
        ["create domain app.d as int check (value > 0)", "create table app.t(a app.d)"],
        [
            "create domain app.d as int not null default 3 check (value > 1)",
            "create table app.t(a app.d)",
            "create view app.v as select a from app.t",
        ],
    ),
    "composite": (
        [
            "create type app.c as (a int, b text)",
            "create function app.f(app.c) returns int language sql return ($1).a",
        ],
        [
            "create type app.c as (a bigint, b text, d int)",
            "create function app.f(app.c) returns bigint language sql return ($1).a",
        ],
    ),
    "name-only": (
        [
            "create table app.t(a int, constraint c1 check (a>0), constraint u1 unique (a))",
            "create index i1 on app.t (a)",
        ],
        [
            "create table app.t(a int, constraint c2 check (a>0), constraint u2 unique (a))",
            "create index i2 on app.t (a)",
        ],
    ),
    "swap index names": (
        [
            "create table app.t(a int, b int)",
            "create index i1 on app.t (a)",
            "create index i2 on app.t (b)",
        ],
        [
            "create table app.t(a int, b int)",
            "create index i2 on app.t (a)",
            "create index i1 on app.t (b)",
        ],
    ),
    "default uses dropped function": (
        [
            "create function app.f() returns int language sql return 1",
            "create table app.t(a int default app.f())",
        ],
        ["create table app.t(a int default 7)"],
    ),
    "grants": (
        [
            "create table app.t(a int, b int)",
            "grant select on app.t to pg_monitor",
            "grant update (a) on app.t to pg_monitor",
            "create function app.f() returns int language sql return 1",
            "revoke execute on function app.f() from public",
        ],
        [
            "create table app.t(a int, b int, c int)",
            "grant insert on app.t to pg_monitor",
            "grant select (c) on app.t to pg_read_all_data",
            "create function app.f() returns int language sql return 1",
        ],
    ),
    "default privs": (
        [],
        ["alter default privileges in schema app grant select on tables to pg_monitor"],
    ),
    "owned seq moved": (
        ["create table app.t(a int)", "create sequence app.s owned by app.t.a"],
        ["create table app.t(b int)", "create sequence app.s"],
    ),
    "recursive views chain + instead of trigger": (
        [
            "create table app.t(a int, b int)",
            "create view app.v as select a,b from app.t",
            "create function app.tf() returns trigger language plpgsql as 'begin return null; end'",
            "create trigger io instead of insert on app.v for each row execute function app.tf()",
            "alter view app.v alter a set default 5",
        ],
        [
            "create table app.t(a int, b text)",
            "create view app.v as select a,b from app.t",
            "create function app.tf() returns trigger language plpgsql as 'begin return null; end'",
            "create trigger io instead of insert on app.v for each row execute function app.tf()",
            "alter view app.v alter a set default 5",
        ],
    ),
    "inherits": (
        [],
        ["create table app.p(a int check (a>0))", "create table app.c(b int) inherits (app.p)"],
    ),
    "range type": (
        [],
        [
            "create type app.r as range (subtype=int)",
            "create table app.t(x app.r, exclude using gist (x with &&))",
        ],
    ),
    "replica identity index": (
        ["create table app.t(a int not null)", "create unique index ri on app.t(a)"],
        [
            "create table app.t(a int not null)",
            "create unique index ri on app.t(a)",
            "alter table app.t replica identity using index ri",
        ],
    ),
    "aggregate": (
        [],
        [
            "create function app.st(int,int) returns int language sql immutable return $1+$2",
            "create aggregate app.mysum(int) (sfunc=app.st, stype=int, initcond='0')",
            "create view app.v as select app.mysum(i) from generate_series(1,3) i",
        ],
    ),
}
