"""Who may do what on this server, and since when."""

from typing import Annotated

import pgflow
from pgflow.types import Boolean, Text


@pgflow.table(schema="audit")
class Role:
    name: Annotated[Text, pgflow.pk()]
    superuser: Boolean
    can_login: Boolean


@pgflow.pipeline(target=Role, mode="scd2", handle_deletes="soft")
def roles():
    """Roles of the server; a change or a DROP ROLE ends a version."""
    return "SELECT rolname AS name, rolsuper AS superuser, rolcanlogin AS can_login FROM pg_roles"


if __name__ == "__main__":
    pgflow.create_all(pgflow.metadata)
    print(roles.sync())
