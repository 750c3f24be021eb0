"""The two scripts: files.sh against a stand-in of Amazon's command, roles.sh against a real PostgreSQL. And what compose.yaml
asks of a PostgreSQL before it takes it for healthy."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from common import HERE, running
from words import described
from judging import ROOT, Skipped, attempt, holds, run, until

# Gives what lies in a folder under the secret's name, and fails where nothing does.
AWS = """#!/bin/sh
while [ $# -gt 0 ]; do [ "$1" = --secret-id ] && id=$2; shift; done
[ -e "$SECRETS/$id" ] || { echo "ResourceNotFoundException: $id" >&2; exit 254; }
cat "$SECRETS/$id"
"""


@contextmanager
def _folders() -> Iterator[tuple[Path, dict[str, str]]]:
    with tempfile.TemporaryDirectory() as name:
        top = Path(name)
        for folder in ("bin", "secrets", "etc", "state"):
            (top / folder).mkdir()
        (top / "bin/aws").write_text(AWS)
        (top / "bin/aws").chmod(0o755)
        for secret in ("key", "list"):
            (top / "secrets" / secret).write_text(f"the first {secret}\n")
        yield top, {
            "PATH": f"{top}/bin:{os.environ['PATH']}", "SECRETS": f"{top}/secrets", "FOLDER": f"{top}/etc", "STATE": f"{top}/state",
            "FILES": "gateway.key=key\nca.crl=list", "SETTINGS": 'client_id = "g-@INSTANCE@"', "EVERY_S": "0.2",
        }  # fmt: skip


def files() -> str:
    """Written whole, for one pair of eyes; changed when the secret is; kept when it cannot be had; nothing starts without all."""
    with _folders() as (top, around):
        key, listed, settings = (top / "etc" / name for name in ("gateway.key", "ca.crl", "gateway.toml"))
        (top / "secrets/list").rename(top / "secrets/away")
        done = attempt(HERE / "files.sh", **around)
        holds(done.returncode != 0 and not (top / "etc/.ready").exists(), "it is ready although a secret is missing")
        holds("the first key" not in done.stdout, "a secret is printed")
        (top / "secrets/away").rename(top / "secrets/list")
        people = [top / f"secrets/people{number}" for number in (1, 2)]
        for number, path in enumerate(people, 1):
            path.write_text(f'[[subject]]\nid = "person-{number}"\n')
        around["FILES"] += "\nsubjects.toml=people1\nsubjects-02.toml=people2"
        with running(HERE / "files.sh", **around) as program:
            until((top / "etc/.ready").exists, "the first look")
            holds(key.read_text() == "the first key\n", f"the key became {key.read_text()!r}")
            holds(stat.S_IMODE(key.stat().st_mode) == 0o600, "others can read the key")
            holds(os.uname().nodename in settings.read_text(), "@INSTANCE@ did not become this machine's name")
            holds(all(f"person-{number}" in settings.read_text() for number in (1, 2)), "not all subjects are added to the settings")
            people[0].write_text("")
            (top / "secrets/key").unlink()
            (top / "secrets/list").write_text("the second list\n")
            until(lambda: listed.read_text() == "the second list\n", "a changed secret")
            holds(key.read_text() == "the first key\n", "a secret that is away took its file with it")
            holds("person-1" in (top / "etc/subjects.toml").read_text(), "subjects are fetched again, although nobody reads them again")
            program.send_signal(signal.SIGTERM)
            holds(program.wait(10) == 0, "told to stop, it fails")
        (top / "secrets/key").write_text("the first key\n")
        for age, name in ((200, "older"), (100, "newer")):
            path = top / f"state/{name}.audit"
            path.touch()
            os.utime(path, (path.stat().st_atime, path.stat().st_mtime - age))
        people[0].write_text('[[subject]]\nid = "person-3"\n')
        run(HERE / "files.sh", **around | {"ONCE": "1"})
        holds("g-newer" in settings.read_text(), "a task that ends does not see with the last gateway's eyes")
        holds("person-3" in settings.read_text(), "subjects are not added to the settings")
        holds(not [path for path in (top / "etc").iterdir() if path.name.startswith((".fetched", ".error", ".gate"))], "something was left")
    return "first look, changes, absence, end"


def _servers() -> list[Path]:
    """Each PostgreSQL that is here: this machine's, and the one that `make servers` fetches. They differ in what a master may."""
    installed = shutil.which("initdb") or next((str(path) for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")), None)
    found = ([Path(installed)] if installed else []) + sorted(ROOT.glob("target/servers/*/root/usr/lib/postgresql/*/bin/initdb"))
    if not found:
        raise Skipped("no PostgreSQL server is here: make servers")
    return found


@contextmanager
def _postgres(initdb: Path) -> Iterator[dict[str, str]]:
    """A server whose master is no superuser, as in RDS."""
    as_nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if os.geteuid() == 0 else []
    with tempfile.TemporaryDirectory() as folder:
        if as_nobody:
            os.chown(folder, 65534, 65534)
        run(*as_nobody, initdb, "-D", f"{folder}/d", "-U", "root_of_rds", "-A", "scram-sha-256", "--no-sync", "--pwfile", _password(folder))
        server = initdb.resolve().parent / "postgres"
        where = {"PGHOST": folder, "PGDATABASE": "postgres", "PGUSER": "root_of_rds", "PGPASSWORD": "first"}
        with subprocess.Popen([*as_nobody, str(server), "-D", f"{folder}/d", "-k", folder, "-c", "listen_addresses=", "-c", "fsync=off"],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as program:  # fmt: skip
            try:
                until(lambda: attempt("psql", "-Atc", "select 1", **where).returncode == 0, "PostgreSQL")
                run("psql", "-qc", "create role master login createrole createdb password 'second'", "-c", "create database tributary owner master", **where)
                yield where | {"PGDATABASE": "tributary", "PGUSER": "", "PGPASSWORD": ""}
            finally:
                program.send_signal(signal.SIGINT)


def database() -> str:
    """It is healthy when it is the program of its container, and not while a script fills its volume by a server of its own."""
    if os.geteuid() != 0:
        raise Skipped("only root may give programs numbers of their own")
    if shutil.which("pg_isready") is None:
        raise Skipped("pg_isready is not here: apt-get install postgresql-client")
    ask = described()["services"]["database"]["healthcheck"]["test"]
    ask = ask[1:] if ask[0] == "CMD" else ["sh", "-c", ask[1].replace("$$", "$")]
    initdb = _servers()[0]
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    with tempfile.TemporaryDirectory() as folder:
        os.chown(folder, 65534, 65534)
        run(*nobody, initdb, "-D", f"{folder}/d", "-U", "postgres", "-A", "trust", "--no-sync")
        server = [*nobody, str(initdb.resolve().parent / "postgres"), "-D", f"{folder}/d", "-k", folder, "-c", "listen_addresses=", "-c", "fsync=off",
                  "-c", "dynamic_shared_memory_type=mmap"]  # fmt: skip
        ask = [word.replace("/var/run/postgresql", folder) for word in ask]
        # A shell that starts it and has more to do, as the image's own script; then the server alone.
        for first, wanted in ((["sh", "-c", '"$@"; :', "sh"], False), ([], True)):
            with running("unshare", "--fork", "--pid", "--ipc", "--mount-proc", *first, *server) as program:
                children = Path(f"/proc/{program.pid}/task/{program.pid}/children")
                until(lambda: children.read_text(), "a first program")
                within = int(children.read_text())
                try:
                    until(lambda: attempt("pg_isready", "-q", "-h", folder).returncode == 0, "PostgreSQL")
                    healthy = attempt("nsenter", f"--target={within}", "--pid", "--mount", *ask).returncode == 0
                    holds(healthy == wanted, "it is healthy while its volume is filled" if healthy else "it is not healthy although it is there")
                finally:
                    # With the first program all others of its numbers end.
                    os.kill(within, signal.SIGKILL)
            Path(folder, "d/postmaster.pid").unlink()
    return "while its volume is filled, and afterwards"


def _password(folder: str) -> Path:
    path = Path(folder, "pw")
    path.write_text("first\n")
    path.chmod(0o644)
    return path


def roles() -> str:
    """By a master who is no superuser; again, with other passwords; in each version that is here."""
    versions = [_roles_in(initdb) for initdb in _servers()]
    return f"twice, by a master who is no superuser, on PostgreSQL {' and '.join(versions)}"


def _roles_in(initdb: Path) -> str:
    with _postgres(initdb) as where, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "bin").mkdir()
        (folder / "bin/jq").write_text('#!/bin/sh\nexec python3 -c "import json,sys; print(json.load(open(sys.argv[2]))[sys.argv[1][1:]])" "$2" "$3"\n')
        (folder / "bin/jq").chmod(0o755)
        (folder / "master.json").write_text(json.dumps({"username": "master", "password": "second"}))
        around = {key: value for key, value in where.items() if value} | {
            "FOLDER": name, "ROLES_SQL": str(ROOT / "gateway/src/store/postgres/roles.sql"), "PATH": f"{folder}/bin:{os.environ['PATH']}",
        }  # fmt: skip
        for round_ in ("one", "it's \\two"):
            for role in ("ingest", "migrate", "query"):
                (folder / f"{role}.password").write_text(f"{role} {round_}\n")
            run(HERE / "roles.sh", **around)
            for role in ("ingest", "migrate", "query"):
                asked = around | {"PGUSER": f"tributary_{role}", "PGPASSWORD": f"{role} {round_}"}
                holds(run("psql", "-Atc", "select current_user", **asked).strip() == f"tributary_{role}", f"{role} cannot come in")
        asked = around | {"PGUSER": "tributary_migrate", "PGPASSWORD": "migrate it's \\two"}
        run("psql", "-qc", "create table made (it int)", **asked)
        asked |= {"PGUSER": "tributary_ingest", "PGPASSWORD": "ingest it's \\two"}
        run("psql", "-qc", "insert into made values (1)", **asked)
        holds(attempt("psql", "-qc", "drop table made", **asked).returncode != 0, "the gateway's role may drop tables")
        version = run("psql", "-Atc", "show server_version", **asked).split()[0]
    return version
