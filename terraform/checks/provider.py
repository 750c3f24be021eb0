"""A provider that has the AWS provider's schema and nothing else, for `terraform validate` and `terraform test`.

Terraform starts no provider that it is told about in TF_REATTACH_PROVIDERS, but connects to it: gRPC, Terraform's plugin
protocol 6. Of that protocol only the questions are answered that come up before anything is planned; in tests Terraform
makes up all else by itself (`mock_provider`). Messages are few and small enough to be written by hand.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path

import grpc

from schema import Attribute, Block, Library, Nested

NESTINGS = {"single": 1, "list": 2, "set": 3}


def varint(number: int) -> bytes:
    """Seven bits a byte, the lowest first."""
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def number(at: int, value: int) -> bytes:
    """A field with a number; 0 is not written."""
    return varint(at << 3) + varint(value) if value else b""


def data(at: int, value: bytes) -> bytes:
    """A field with bytes, a text or a message."""
    return varint(at << 3 | 2) + varint(len(value)) + value


def attribute(name: str, it: Attribute) -> bytes:
    """`Schema.Attribute`. What may be left out may also be read."""
    kind = json.dumps(it.type).encode()
    return data(1, name.encode()) + data(2, kind) + number(4, it.required) + number(5, it.optional) + number(6, not it.required)


def nested(name: str, it: Nested) -> bytes:
    """`Schema.NestedBlock`; of a single one Terraform wants no bounds."""
    bounds = b"" if it.nesting == "single" else number(4, it.least) + number(5, it.most)
    return data(1, name.encode()) + data(2, block(it.block)) + number(3, NESTINGS[it.nesting]) + bounds


def block(it: Block) -> bytes:
    """`Schema.Block`"""
    attributes = b"".join(data(2, attribute(name, one)) for name, one in sorted(it.attributes.items()))
    return attributes + b"".join(data(3, nested(name, one)) for name, one in sorted(it.blocks.items()))


def schemas(found: dict[str, Block | None]) -> bytes:
    """`GetProviderSchema.Response`"""
    out = b""
    for name, it in sorted(found.items()):
        if it is None:
            continue
        schema = data(2, block(it))
        if name == "provider":
            out += data(1, schema)
        elif name.startswith("data."):
            out += data(3, data(1, name.removeprefix("data.").encode()) + data(2, schema))
        else:
            out += data(2, data(1, name.encode()) + data(2, schema))
    return out


class Answers(grpc.GenericRpcHandler):
    """Answers by the method's name; what is not here is unimplemented, and Terraform says so."""

    def __init__(self, schema: bytes) -> None:
        nothing = ("ValidateProviderConfig", "ValidateResourceConfig", "ValidateDataResourceConfig", "StopProvider")
        self.answers = {"GetProviderSchema": schema} | dict.fromkeys(nothing, b"")

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        service, _, method = details.method.lstrip("/").partition("/")
        if service != "tfplugin6.Provider" or method not in self.answers:
            return None
        return grpc.unary_unary_rpc_method_handler(lambda request, context: self.answers[method])


@contextlib.contextmanager
def serving(package: Path, wanted: set[str]) -> Iterator[dict[str, str]]:
    """Serves the schemas of `wanted`, and gives the environment by which Terraform finds them."""
    schema = schemas(Library(package).read(wanted | {"provider"}))
    with tempfile.TemporaryDirectory() as folder:
        socket = f"{folder}/provider"
        server = grpc.server(futures.ThreadPoolExecutor(4), [Answers(schema)])
        server.add_insecure_port(f"unix:{socket}")
        server.start()
        where = {"Protocol": "grpc", "ProtocolVersion": 6, "Pid": os.getpid(), "Test": True, "Addr": {"Network": "unix", "String": socket}}
        try:
            yield {"TF_REATTACH_PROVIDERS": json.dumps({"registry.terraform.io/hashicorp/aws": where})}
        finally:
            server.stop(None)
