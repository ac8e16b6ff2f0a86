#!/usr/bin/env bash
# Runs deploy/compose.yaml on a real engine: starts the three nodes, runs work through the ports of this
# machine, kills one container, goes on, checks that nothing was lost, and takes the cluster down.
#
#   deploy/test-compose.sh            needs docker and docker compose (or docker-compose)
#
# The image quorumq:local is used as it is, and built where there is none.
set -euo pipefail
cd "$(dirname "$0")/.."

compose() {
  if docker compose version >/dev/null 2>&1; then docker compose "$@"; else docker-compose "$@"; fi
}
project=quorumq-test-$$
QUORUMQ_RAFT_SECRET=$(head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n')
export QUORUMQ_RAFT_SECRET
run() { compose -p "$project" -f deploy/compose.yaml "$@"; }
finish() {
  code=$?
  if [ "$code" -ne 0 ]; then run logs --tail 30 || true; fi
  run down -v >/dev/null 2>&1 || true
  exit "$code"
}
trap finish EXIT

if ! docker image inspect quorumq:local >/dev/null 2>&1; then
  docker build --network host -t quorumq:local -f deploy/Dockerfile .
fi
run up -d --no-build

wait_for() { # wait_for <seconds> <what> <command ...>
  local until=$((SECONDS + $1)) what=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    if [ "$SECONDS" -ge "$until" ]; then echo "not in time: $what"; return 1; fi
    sleep 0.2
  done
}
ready() { curl -fsS -m 2 "http://127.0.0.1:$1/readyz"; }
for port in 8080 8081 8082; do wait_for 60 "port $port is ready" ready "$port"; done

create() { # create <port> <key>: through any node, the redirect leads to the leader
  curl -fsS -m 5 -L -X POST "http://127.0.0.1:$1/v1/tasks" -H 'content-type: application/json' \
    -d "{\"command\":\"compose\",\"payload\":\"$2\",\"idempotencyKey\":\"$2\"}"
}
for i in $(seq 1 60); do create $((8080 + i % 3)) "before-$i" >/dev/null; done

leader=$(curl -fsS http://127.0.0.1:8080/v1/cluster/nodes | sed -E 's/.*"leader":"([^"]*)".*/\1/')
echo "the leader is $leader: killing its container"
run kill -s SIGKILL "$leader"
ports=()
for n in 1 2 3; do [ "n$n" = "$leader" ] || ports+=($((8079 + n))); done
wait_for 20 "another node leads" create "${ports[0]}" after-0
for i in $(seq 1 60); do create "${ports[$((i % 2))]}" "after-$i" >/dev/null; done

claimed=0
while :; do
  status=$(curl -sS -m 10 -L -o /tmp/claim-$$ -w '%{http_code}' -X POST \
    "http://127.0.0.1:${ports[0]}/v1/tasks/claim/batch" -H 'content-type: application/json' \
    -d '{"count":100,"commands":["compose"]}')
  [ "$status" = 200 ] || break
  claimed=$((claimed + $(grep -o '"leaseToken"' /tmp/claim-$$ | wc -l)))
done
rm -f /tmp/claim-$$
if [ "$claimed" -ne 121 ]; then
  echo "121 tasks were acknowledged, $claimed were delivered"
  exit 1
fi
run start "$leader"
wait_for 60 "the killed node is ready again" ready $((8079 + ${leader#n}))
echo "1 passed, 0 failed"
