#!/bin/sh
# Writes secrets of AWS Secrets Manager into files that only this user can read, and looks again every EVERY_S seconds, so
# that a renewed certificate or a new revocation list reaches the gateway without a restart.
#
#   FILES     name=ARN, one a line: which secret becomes which file
#   SETTINGS  the gateway's configuration; @INSTANCE@ in it becomes this task's name, and subjects*.toml are added to it,
#             which are therefore fetched once only
#   EVERY_S   seconds between two looks
#   ONCE      1: end after the first look. @INSTANCE@ is then the gateway that wrote its checkpoints last
#   FOLDER, STATE   /etc/tributary and /var/lib/tributary
#
# No secret is in the environment, in an argument or in what is printed. A secret that cannot be had leaves its file as it is.
set -u
umask 077
folder=${FOLDER:-/etc/tributary}
state=${STATE:-/var/lib/tributary}

say() { echo "files: $*" >&2; }

# Whole or not at all: the gateway may read at any moment.
put() { # NAME, from standard input
	cat >"$folder/.$1.new" || return 1
	# Amazon's image has no cmp.
	if [ -e "$folder/$1" ] && [ "$(sha256sum <"$folder/.$1.new")" = "$(sha256sum <"$folder/$1")" ]; then
		rm -f "$folder/.$1.new"
	else
		mv -f "$folder/.$1.new" "$folder/$1" && say "$1 is written"
	fi
}

fetch_all() {
	failed=0
	while IFS='=' read -r name arn; do
		[ -n "$name" ] || continue
		case $name in subjects*) [ -z "${is_again:-}" ] || continue ;; esac
		# Into a file first: what fails must not become an empty key.
		if aws secretsmanager get-secret-value --secret-id "$arn" --query SecretString --output text >"$folder/.fetched" 2>"$folder/.error" &&
			[ -s "$folder/.fetched" ]; then
			put "$name" <"$folder/.fetched" || failed=1
		else
			say "$name cannot be had, and stays as it was: $(tail -n 1 "$folder/.error")"
			failed=1
		fi
		rm -f "$folder/.fetched" "$folder/.error"
	done <<END
$FILES
END
	return $failed
}

instance() {
	newest=""
	[ "${ONCE:-0}" = 1 ] && newest=$(cd "$state" && for file in *.audit; do
		[ -e "$file" ] && { [ -z "${last:-}" ] || [ "$file" -nt "$last" ]; } && last=$file
		echo "${last:-}"
	done | tail -n 1)
	if [ -n "$newest" ]; then echo "${newest%.audit}"; else uname -n; fi
}

fetch_all || { say "not all files are there: nothing is started"; exit 1; }
{
	printf '%s\n' "$SETTINGS" | sed "s/@INSTANCE@/$(instance)/g"
	for file in "$folder"/subjects*.toml; do
		[ ! -e "$file" ] || { echo; cat "$file"; }
	done
} | put gateway.toml || exit 1
: >"$folder/.ready"
[ "${ONCE:-0}" = 1 ] && exit 0

is_again=1
trap 'exit 0' TERM INT
while :; do
	sleep "${EVERY_S:-60}" &
	wait $!
	fetch_all || true # said already; tried again
done
