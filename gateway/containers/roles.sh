#!/bin/sh
# Makes the gateway's roles in PostgreSQL and sets their passwords. May be run again: it grants what was lost.
#
#   PGHOST, PGDATABASE …   where and which, as psql takes them
#   FOLDER                 has ingest.password, migrate.password, query.password; and master.json from RDS, if that is who asks
#
# Passwords go from files to the server, over its connection, and nowhere else; the server does not log statements.
set -eu
folder=${FOLDER:-/etc/tributary}
sql=${ROLES_SQL:-/usr/local/share/tributary/roles.sql}

if [ -e "$folder/master.json" ]; then
	PGUSER=$(jq -r .username "$folder/master.json")
	PGPASSWORD=$(jq -r .password "$folder/master.json")
	export PGUSER PGPASSWORD
fi

psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 <<END
-- Whoever makes a role without being a superuser is not of it by that alone, and could not say what its tables' defaults are.
select format('create role %I login nosuperuser nocreatedb nocreaterole', role)
from unnest(array['tributary_migrate', 'tributary_ingest', 'tributary_query']) role
where not exists (select from pg_roles where rolname = role) \\gexec
select format('grant tributary_migrate to %I', current_user)
where not (select rolsuper from pg_roles where rolname = current_user)
  and not pg_has_role(current_user, 'tributary_migrate', 'usage') \\gexec
\\i $sql
END

for role in ingest migrate query; do
	[ -e "$folder/$role.password" ] || { echo "roles: $folder/$role.password is missing" >&2; exit 1; }
	psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --set "file=$folder/$role.password" --set "role=tributary_$role" <<'END'
\set password `head -n 1 :'file'`
alter role :"role" password :'password';
END
done
echo "roles: tributary_ingest, tributary_migrate and tributary_query are there"
