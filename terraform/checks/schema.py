"""What the AWS provider takes, read out of its bindings for JavaScript.

The registry that has the provider itself cannot be reached from everywhere; npm can, and @cdktf/provider-aws is generated
from the provider's own schema: of each resource, every attribute with its type, whether it must be there, and each block
with what is in it. `Library.read` gives that back as a `Block`.
"""

from __future__ import annotations

import re
import tarfile
from dataclasses import dataclass, field
from pathlib import Path

# One argument of a resource or block, as the generator writes it.
ARGUMENT = re.compile(
    r"^ +(?P<name>\w+): \{\n +value: (?P<value>.*),\n +isBlock: (?P<nested>true|false),\n"
    r' +type: "(?P<shape>\w+)",\n +storageClassType: "(?P<storage>\w+)",\n',
    re.M,
)
# Which function writes what is within, and for each of several or for one; then the field it comes from.
NESTED = re.compile(r"(?:cdktf\.listMapperHcl\()?(?P<function>\w+)ToHclTerraform\b")
FIELD = re.compile(r"(?:this\._|struct\.)(?P<field>\w+)")
FUNCTION = re.compile(r"^function (\w+)ToHclTerraform\(struct\) \{\n(.*?)^\}\n", re.M | re.S)
CLASS = re.compile(r"^class (\w+) extends cdktf\.(\w+) \{\n(.*?)^\}\n", re.M | re.S)
# What can only be read.
GETTER = re.compile(r"this\.get(?P<kind>\w+)Attribute\('(?P<name>\w+)'\)")
READ_BLOCK = re.compile(r'this\._\w+ = new (?P<type>\w+?)(?P<many>List|OutputReference)\(this, "(?P<name>\w+)"(?:, (?P<set>true|false))?\)')
SCALARS = {"string": "string", "number": "number", "boolean": "bool", "any": "dynamic"}


@dataclass
class Attribute:
    """An argument, or something that can be read: `type` as Terraform writes types in JSON."""

    type: object
    required: bool = False
    optional: bool = False


@dataclass
class Nested:
    """A block within: `nesting` is single, list or set, `most` 0 where there may be any number of it."""

    block: "Block"
    nesting: str
    least: int
    most: int


@dataclass
class Block:
    """A resource, a data source, or what is within a block."""

    attributes: dict[str, Attribute] = field(default_factory=dict)
    blocks: dict[str, Nested] = field(default_factory=dict)


class SchemaError(Exception):
    """The package is not what we take it for."""


class Library:
    """The package, packed as npm gives it."""

    def __init__(self, package: Path) -> None:
        self.package = package

    def read(self, wanted: set[str]) -> dict[str, Block | None]:
        """The schemas of `wanted`: `aws_lb`, `data.aws_region`, `provider`. None for what the provider does not have."""
        folders = {folder(name): name for name in wanted}
        found: dict[str, Block | None] = dict.fromkeys(wanted)
        with tarfile.open(self.package, "r|gz") as archive:
            for member in archive:
                parts = member.name.split("/")
                if parts[-1] == "index.js" and parts[1] == "lib" and len(parts) == 4 and parts[2] in folders:
                    text = archive.extractfile(member).read().decode()
                    found[folders[parts[2]]] = parse(text)
        return found


def folder(name: str) -> str:
    """Where the package keeps a resource: `aws_lb` in lib/lb, `data.aws_region` in lib/data-aws-region."""
    if name.startswith("data."):
        return "data-" + name.removeprefix("data.").replace("_", "-")
    return name.removeprefix("aws_").replace("_", "-")


def parse(text: str) -> Block:
    """The schema in one file of the package."""
    functions = dict(FUNCTION.findall(text))
    classes = {name: body for name, _, body in CLASS.findall(text)}
    tops = [name for name, base, _ in CLASS.findall(text) if base in ("TerraformResource", "TerraformDataSource", "TerraformProvider")]
    if len(tops) != 1:
        raise SchemaError(f"{len(tops)} resources where one was expected")
    body = classes[tops[0]]
    return _block(body.partition("synthesizeHclAttributes() {")[2], body, functions, classes)


def _block(arguments: str, owner: str, functions: dict[str, str], classes: dict[str, str]) -> Block:
    block = Block()
    if arguments.count("isBlock:") != len(ARGUMENT.findall(arguments)):
        raise SchemaError("an argument that is written in another way")
    for argument in ARGUMENT.finditer(arguments):
        name, value, shape = argument["name"], argument["value"], argument["shape"]
        at = FIELD.search(value)
        # What must be there cannot be taken away.
        required = at is None or f"reset{at['field'][0].upper()}{at['field'][1:]}()" not in owner
        if argument["nested"] == "false":
            kind = _plain(shape, argument["storage"])
            block.attributes[name] = Attribute(kind, required=required, optional=not required)
            continue
        function = NESTED.match(value)["function"]
        inner = function[0].upper() + function[1:]
        within = _block(functions[function], classes.get(f"{inner}OutputReference", ""), functions, classes)
        many = value.startswith("cdktf.listMapperHcl(")
        if many and f"{function}ToHclTerraform, false)" in value:
            block.attributes[name] = Attribute([shape, _object(within)], required=required, optional=not required)
            continue
        nesting = "single" if shape == "struct" else shape
        block.blocks[name] = Nested(within, nesting, int(required), 0 if many else 1)
    _add_what_is_read(block, owner, classes)
    return block


def _add_what_is_read(block: Block, owner: str, classes: dict[str, str]) -> None:
    for getter in GETTER.finditer(owner):
        if getter["name"] not in block.attributes and getter["name"] not in block.blocks:
            block.attributes[getter["name"]] = Attribute(_read_type(getter["kind"]))
    for reference in READ_BLOCK.finditer(owner):
        name = reference["name"]
        if name in block.attributes or name in block.blocks:
            continue
        within = Block()
        _add_what_is_read(within, classes.get(f"{reference['type']}OutputReference", ""), classes)
        shape = "set" if reference["set"] == "true" else "list"
        kind = [shape, _object(within)] if reference["many"] == "List" else _object(within)
        block.attributes[name] = Attribute(kind)


def _plain(shape: str, storage: str) -> object:
    if shape == "simple":
        return SCALARS[storage]
    scalar = re.fullmatch(r"(string|number|boolean|any)(?:List|Map)", storage)
    if scalar is None or shape not in ("list", "set", "map"):
        return "dynamic"
    return [shape, SCALARS[scalar[1]]]


def _read_type(kind: str) -> object:
    if kind.lower() in SCALARS:
        return SCALARS[kind.lower()]
    if found := re.fullmatch(r"(String|Number|Boolean|Any)Map", kind):
        return ["map", SCALARS[found[1].lower()]]
    return ["list", "number" if kind.startswith("Number") else "string"]


def _object(block: Block) -> object:
    fields = {name: attribute.type for name, attribute in block.attributes.items()}
    for name, nested in block.blocks.items():
        inner = _object(nested.block)
        fields[name] = inner if nested.nesting == "single" else [nested.nesting, inner]
    return ["object", fields]
