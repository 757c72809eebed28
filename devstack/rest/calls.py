"""Plan a call of a function: find the overload, bind the arguments, shape the result."""

import dataclasses

from devstack.rest import catalogue, errors, plan
from devstack.rest.fragments import Binder, qualified, quoted
from devstack.rest.headers import Preferences, Shape
from devstack.rest.query import EVERYTHING, Query
from devstack.rest.ranges import Window
from devstack.rest.reading import Reader, Selection, Source
from devstack.rest.wire import Arguments


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    known: catalogue.Catalogue
    name: str
    #: The JSON body of a POST; None for a GET, whose arguments are in the query string.
    body: Arguments | None
    query: Query
    preferences: Preferences
    shape: Shape

    @property
    def argument_names(self) -> frozenset[str] | None:
        """Names of the arguments; None if the body is no object."""
        if self.body is None:
            return frozenset(name for name, _ in self.query.arguments)
        return self.body.keys


def find(call: Call) -> catalogue.Function:
    """The function to call. Raises: NoFunctionError, AmbiguousFunctionError."""
    overloads = call.known.functions.get(call.name, ())
    names = call.argument_names
    matching = [] if names is None else [one for one in overloads if _takes(one, names)]
    if not matching and call.body is not None:
        matching = [one for one in overloads if _takes_whole_body(one)]
    if not matching:
        raise _none_found(call, names or frozenset(), overloads)
    if len(matching) > 1:
        described = ", ".join(_described(one) for one in matching)
        raise errors.AmbiguousFunctionError(
            f"Could not choose the best candidate function between: {described}",
            hint="Try renaming the parameters or the function itself in the database so function "
            "overloading can be resolved",
        )
    return matching[0]


def call_function(call: Call, function: catalogue.Function, window: Window) -> plan.Plan:
    """Plan calling *function*; filters, order and *window* apply to the rows it returns."""
    binder = Binder()
    reader = Reader(call.known, binder, call.query.levels)
    source = Source(
        sql=plan.SOURCE, alias=call.name, relation=call.known.relations.get(function.relation or "")
    )
    selection = _selection(call, function, reader, source)
    shape = call.shape
    single = shape.single or not function.returns_set
    write_body = plan.body_of_rows if function.returns_row else plan.body_of_scalars
    return plan.Plan(
        sql=plan.outcome(
            source=_invocation(call, function, binder),
            rows=selection.rows(reader.window(window)),
            body=write_body(shape, single=single),
            total=selection.total() if call.preferences.count else plan.NOT_COUNTED,
        ),
        values=binder.values,
        read_only=call.body is None or not function.volatile,
        exactly_one=shape.single and function.returns_set,
        max_affected=call.preferences.max_affected,
    )


def _selection(
    call: Call, function: catalogue.Function, reader: Reader, source: Source
) -> Selection:
    if function.returns_row:
        return reader.select(source, call.query.select)
    if call.query.select != EVERYTHING:
        raise errors.NotSupportedError(
            details=f"select= on {call.name}, which does not return rows with columns"
        )
    return dataclasses.replace(reader.select(source, ()), outputs=plan.SCALAR)


def _takes(function: catalogue.Function, names: frozenset[str]) -> bool:
    known = {parameter.name for parameter in function.parameters}
    required = {parameter.name for parameter in function.parameters if parameter.required}
    return "" not in known and required <= names <= known


def _takes_whole_body(function: catalogue.Function) -> bool:
    """True for one unnamed json or jsonb parameter."""
    match function.parameters:
        case (catalogue.Parameter(name="", type=type_),):
            return type_ in catalogue.JSON_TYPES
    return False


def _invocation(call: Call, function: catalogue.Function, binder: Binder) -> str:
    record = ""
    if call.body is None:
        arguments = _arguments_of_get(call, function, binder)
    elif _takes_whole_body(function):
        (parameter,) = function.parameters
        arguments = f"{binder.bind(call.body.text)}::{parameter.type}"
    else:
        record, arguments = _arguments_of_post(call.body, function, binder)
    invoked = f"{qualified(function.name)}({arguments})"
    if not function.returns_row:
        return f"select {invoked} as {plan.SCALAR}{f' from {record}' if record else ''}"
    return f"select pgrst_call.* from {f'{record}, lateral ' if record else ''}{invoked} pgrst_call"


def _arguments_of_post(
    body: Arguments, function: catalogue.Function, binder: Binder
) -> tuple[str, str]:
    given = [one for one in function.parameters if one.name in (body.keys or ())]
    if not given:
        return "", ""
    typed = ", ".join(f"{quoted(one.name)} {one.type}" for one in given)
    record = f"json_to_record({binder.bind(body.text)}::json) as pgrst_body({typed})"
    arguments = ", ".join(_named(one, f"pgrst_body.{quoted(one.name)}") for one in given)
    return record, arguments


def _arguments_of_get(call: Call, function: catalogue.Function, binder: Binder) -> str:
    values = dict(call.query.arguments)
    given = [one for one in function.parameters if one.name in values]
    return ", ".join(_named(one, f"{binder.bind(values[one.name])}::{one.type}") for one in given)


def _named(parameter: catalogue.Parameter, value: str) -> str:
    variadic = "variadic " if parameter.variadic else ""
    return f"{variadic}{quoted(parameter.name)} => {value}"


def _described(function: catalogue.Function) -> str:
    parameters = ", ".join(f"{one.name} => {one.type}" for one in function.parameters)
    return f"{catalogue.SCHEMA}.{function.name}({parameters})"


def _none_found(
    call: Call, names: frozenset[str], overloads: tuple[catalogue.Function, ...]
) -> errors.NoFunctionError:
    full = f"{catalogue.SCHEMA}.{call.name}"
    listed = ", ".join(sorted(names))
    plural = "s" if len(names) > 1 else ""
    sought = f" with parameter{plural} {listed}" if names else " without parameters"
    whole = " or with a single unnamed json/jsonb parameter" if call.body is not None else ""
    return errors.NoFunctionError(
        f"Could not find the function {full}{f'({listed})' if names else ' without parameters'} "
        "in the schema cache",
        details=f"Searched for the function {full}{sought}{whole}, but no matches were found in "
        "the schema cache.",
        hint=_hint(call, overloads),
    )


def _hint(call: Call, overloads: tuple[catalogue.Function, ...]) -> str | None:
    if overloads:
        names = ", ".join(sorted(one.name for one in overloads[0].parameters))
        return f"Perhaps you meant to call the function {catalogue.SCHEMA}.{call.name}({names})"
    close = catalogue.closest(call.name, call.known.functions)
    return f"Perhaps you meant to call the function {catalogue.SCHEMA}.{close}" if close else None
