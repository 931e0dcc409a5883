# shellcheck shell=bash
# A private apt for the image build; sourced by the steps, never run by itself.
#
# The machine's own apt sources only say which mirror to use and which keys to
# trust. Suites and components are the build's own choice, and its package
# lists live in $APT_DIR: the machine's apt is neither changed nor relied upon
# to have contrib or backports enabled.
#
# Needs: APT_DIR (kept between runs), and the functions' arguments.

fail() { echo "image build: $*" >&2; exit 1; }

# Every one-line or deb822 source of this machine as "URI SUITE KEYRING" lines.
host_sources() {
	awk '
		function flush(   i, j, u, s) {
			if (types ~ /(^| )deb( |$)/ && enabled != "no") {
				split(uris, u, " "); split(suites, s, " ")
				for (i in u) for (j in s) print u[i], s[j], (key == "" ? "-" : key)
			}
			types = uris = suites = key = enabled = ""
		}
		FNR == 1 { flush() }
		FILENAME ~ /\.list$/ {
			if ($1 != "deb") next
			key = "-"; line = $0
			if (match(line, /\[[^]]*\]/)) {
				opts = substr(line, RSTART + 1, RLENGTH - 2)
				if (match(opts, /signed-by=[^ ]*/)) key = substr(opts, RSTART + 10, RLENGTH - 10)
				sub(/\[[^]]*\]/, "", line)
			}
			split(line, f, " "); print f[2], f[3], key; key = ""; next
		}
		/^[ \t]*$/ { flush(); next }
		/^#/ { next }
		{ v = $0; sub(/^[^:]*:[ \t]*/, "", v) }
		tolower($1) == "types:" { types = v }
		tolower($1) == "uris:" { uris = v }
		tolower($1) == "suites:" { suites = v }
		tolower($1) == "enabled:" { enabled = tolower(v) }
		tolower($1) == "signed-by:" { key = (v ~ /^\//) ? v : "" }
		END { flush() }
	' $(ls /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources 2>/dev/null) /dev/null
}

# mirror_of MAIN|SECURITY : "URI KEYRING" of this machine's Debian mirror.
# Debian's main archive is recognized by a suite named after a release or its
# -updates; the security archive by the -security suffix.
mirror_of() {
	local want=$1
	host_sources | awk -v want="$want" '
		$2 ~ /^(bookworm|trixie|stable|oldstable)-security$/ { if (want == "SECURITY") { print $1, $3; exit } next }
		$2 ~ /^(bookworm|trixie|stable|oldstable)(-updates)?$/ { if (want == "MAIN") { print $1, $3; exit } }'
}

# deb_line ARCHIVE SUITE COMPONENTS... : one line of a sources.list
deb_line() {
	local archive=$1 uri key; shift
	read -r uri key < <(mirror_of "$archive") || true
	[ -n "${uri:-}" ] || { [ "$archive" = SECURITY ] && return 0; fail "no Debian mirror in this machine's apt sources"; }
	# Newer releases are signed by keys that the pinned file may lack: the
	# archive keyring package carries them all.
	[ "$key" != - ] || key=/usr/share/keyrings/debian-archive-keyring.gpg
	echo "deb [signed-by=$key] $uri $*"
}

# Suites that the steps take packages from: the kernel is always bookworm's.
private_sources() {
	deb_line MAIN bookworm main contrib
	deb_line SECURITY bookworm-security main contrib
	deb_line MAIN bookworm-backports main contrib
	deb_line MAIN trixie-backports main contrib
}

# papt TOOL ARGS... : apt-get or apt-cache over the private sources
papt() {
	local tool=$1; shift
	"$tool" -o Dir::Etc::sourcelist="$APT_DIR/sources.list" -o Dir::Etc::sourceparts="$APT_DIR/none" \
		-o Dir::Etc::preferences="$APT_DIR/none/preferences" -o Dir::Etc::preferencesparts="$APT_DIR/none" \
		-o Dir::State="$APT_DIR/state" -o Dir::State::status="$APT_DIR/state/status" \
		-o Dir::Cache="$APT_DIR/cache" -o Acquire::Languages=none \
		-o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false \
		-o Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled=false \
		-o APT::Sandbox::User=root "$@"
}

# papt_update : fresh lists, unless those at hand are younger than a day
papt_update() {
	mkdir -p "$APT_DIR"/none "$APT_DIR"/state/lists/partial "$APT_DIR"/cache/archives/partial
	touch "$APT_DIR/state/status"
	private_sources > "$APT_DIR/sources.list.new"
	if cmp -s "$APT_DIR/sources.list.new" "$APT_DIR/sources.list" &&
		[ -n "$(find "$APT_DIR/updated" -mmin -1440 2>/dev/null)" ]; then return; fi
	mv "$APT_DIR/sources.list.new" "$APT_DIR/sources.list"
	if papt apt-get -q update && ls "$APT_DIR"/state/lists/*Packages* > /dev/null; then
		touch "$APT_DIR/updated"
	elif [ -e "$APT_DIR/updated" ]; then
		echo "warning: no fresh package lists; going on with the old ones" >&2
	else
		fail "apt-get update failed and there are no older package lists"
	fi
}

# fetch_debs DIR PACKAGE=VERSION... : download into DIR, without installing
fetch_debs() {
	local dir=$1; shift; mkdir -p "$dir"
	(cd "$dir" && papt apt-get -q download "$@")
}
