"""User code that type checkers refuse; each line says with which error."""

from sqlalchemy import MetaData

from pgflow.declare.markers import natural_key, pk
from pgflow.decorators import table
from pgflow.factories.simple import SimpleTable
from pgflow.types import BigInt


@table(schema="s", handle_delets="soft")  # error: call-overload, call-overload
class Misspelt:
    a: BigInt


@table(schema="s", handle_deletes="sometimes")  # error: call-overload
class WrongValue:
    a: BigInt


SimpleTable("t", "s", MetaData(), [], keys=3)  # error: arg-type
pk(True)  # error: call-arg
natural_key(3)  # error: arg-type
