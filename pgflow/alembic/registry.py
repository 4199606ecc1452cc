"""All kinds of objects that migrations know, by name."""

from __future__ import annotations

from collections.abc import Mapping

from pgflow.alembic.kind import Kind
from pgflow.alembic.kinds.aggregates import AGGREGATE
from pgflow.alembic.kinds.columns import COLUMN
from pgflow.alembic.kinds.composites import COMPOSITE
from pgflow.alembic.kinds.constraints import CONSTRAINT
from pgflow.alembic.kinds.default_privileges import DEFAULT_PRIVILEGES
from pgflow.alembic.kinds.defaults import DEFAULT
from pgflow.alembic.kinds.domains import DOMAIN
from pgflow.alembic.kinds.enums import ENUM
from pgflow.alembic.kinds.extensions import EXTENSION
from pgflow.alembic.kinds.functions import FUNCTION, PROCEDURE
from pgflow.alembic.kinds.indexes import INDEX
from pgflow.alembic.kinds.materialized_views import MATERIALIZED_VIEW
from pgflow.alembic.kinds.policies import POLICY
from pgflow.alembic.kinds.ranges import RANGE
from pgflow.alembic.kinds.roles import ROLE
from pgflow.alembic.kinds.rules import RULE
from pgflow.alembic.kinds.schemas import SCHEMA
from pgflow.alembic.kinds.sequences import SEQUENCE
from pgflow.alembic.kinds.statistics import STATISTICS
from pgflow.alembic.kinds.tables import TABLE
from pgflow.alembic.kinds.triggers import TRIGGER
from pgflow.alembic.kinds.views import VIEW

_ALL: tuple[Kind, ...] = (
    ROLE,
    SCHEMA,
    EXTENSION,
    ENUM,
    DOMAIN,
    COMPOSITE,
    RANGE,
    SEQUENCE,
    FUNCTION,
    PROCEDURE,
    AGGREGATE,
    TABLE,
    COLUMN,
    DEFAULT,
    CONSTRAINT,
    INDEX,
    STATISTICS,
    VIEW,
    MATERIALIZED_VIEW,
    RULE,
    TRIGGER,
    POLICY,
    DEFAULT_PRIVILEGES,
)

#: Every kind, by the `kind` of its identities.
KINDS: Mapping[str, Kind] = {kind.name: kind for kind in _ALL}
