"""A one-shot SessionKill operator as an engineer of the kopf ecosystem would write it. See ../README.md."""

import asyncio
import base64
import functools
import json
import logging
import os
import socket
from datetime import UTC, datetime

import aiohttp
import kopf
from alibabacloud_oceanbasepro20190901 import models
from alibabacloud_oceanbasepro20190901.client import Client
from alibabacloud_tea_openapi.models import Config

import statuses

GROUP, VERSION = "sessionkill.dev", "v1alpha1"
# Claim by a SessionKillReceipt, record the outcome in it, and write an Event.
EQUAL_WRITES = os.environ.get("EQUAL_WRITES") == "1"
HOLDER = f"{socket.gethostname()}-{os.getpid()}"
# kopf handles all objects at once; without a limit a burst would open as many connections.
SLOTS = asyncio.Semaphore(32)
PAUSES = [0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10]


class Api:
    """The HTTP session of kopf, also used for what this operator writes: one pool of connections and no second client."""

    session: aiohttp.ClientSession
    server: str
    is_ready = False


@kopf.on.login()
async def login(**kwargs):
    info = kopf.login_with_kubeconfig(**kwargs)
    connector = aiohttp.TCPConnector(limit=0, ssl=info.as_ssl_context())
    Api.session = aiohttp.ClientSession(connector=connector, headers=info.as_http_headers())
    Api.server = info.server
    return kopf.AiohttpSession(aiohttp_session=Api.session, server=info.server)


@kopf.on.startup()
async def configure(settings, **_):
    # Finished requests are neither listed nor watched. Group and name apart: kopf takes "group/name" for something else,
    # and a selector that fits no kind is ignored without a word.
    settings.watching.field_selectors[GROUP, "sessionkills"] = "status.completionTime="
    settings.watching.label_selectors["v1", "secrets"] = "sessionkill.dev/credentials=true"
    settings.posting.enabled = EQUAL_WRITES
    settings.scanning.disabled = True


# Access keys come from an index, like connections: a rotated key is seen at once, and no request reads one.


@kopf.index("v1", "secrets")
async def access_keys(name, body, **_):
    return {name: {key: base64.b64decode(value).decode() for key, value in body.get("data", {}).items()}}


@kopf.index(GROUP, "oceanbaseconnections")
async def endpoints(name, spec, **_):
    return {name: dict(spec["alibabaCloud"])}


@kopf.on.event(GROUP, "oceanbaseconnections")
async def ready(**_):
    # Handlers are called once the indices are filled.
    if not Api.is_ready:
        Api.is_ready = True
        print("ready", flush=True)


@kopf.on.event(GROUP, "sessionkills")
async def kill(event, memo, endpoints, access_keys, **_):
    """Events of one object come one after the other; its own writes come back as events, too."""
    request = event["object"]
    if event["type"] == "DELETED" or memo.get("attempted") or not is_supported(request["spec"]):
        return
    connection = next(iter(endpoints.get(request["spec"]["connectionRef"]["name"], [])), None)
    keys = connection and next(iter(access_keys.get(connection["credentials"]["secretRef"]["name"], [])), None)
    if not keys:
        logging.error("%s: no connection, or no access key", request["metadata"]["name"])
        return
    memo.attempted = True
    async with SLOTS:
        attempt = under_receipt if EQUAL_WRITES else under_version
        # After a lost race the newer state of the object comes with the next event.
        memo.attempted = await attempt(request, client_of(connection, keys))


def is_supported(spec):
    """Keeps the peer from killing where it would have to look at the process list, or to wait."""
    return (
        spec["mode"] == "Kill"
        and not spec.get("suspend")
        and not spec.get("notBeforeTime")
        and spec["verification"]["policy"] != "Required"
        and not any(session.get("expect") for session in spec["sessions"])
    )


async def under_version(request, client):
    """Claims by a patch that holds for one resourceVersion only: of all who try, one gets through."""
    only_if = {"resourceVersion": request["metadata"]["resourceVersion"]}
    if request.get("status", {}).get("startTime"):
        lost = statuses.for_all(request["spec"], "Unknown", "HolderLost")
        end = statuses.finished(request, lost, "OutcomeUnknown", "claimed by a process that is gone")
        return await patch_status(request, only_if, end) != 409
    if is_late(request):
        return await patch_status(request, only_if, too_late(request)) != 409
    dispatch = statuses.new_dispatch()
    if await patch_status(request, only_if, statuses.claimed(request, dispatch)) != 200:
        return False
    outcomes, reason = await call(request, client, dispatch)
    await settle(request, statuses.finished(request, outcomes, reason, dispatch=dispatch))
    return True


async def under_receipt(request, client):
    """Claims by creating an object whose name follows from the request, and records the outcome in it."""
    dispatch = statuses.new_dispatch(statuses.receipt_name(request["spec"]))
    receipt = statuses.receipt(request, dispatch, HOLDER)
    path = path_of(request, "sessionkillreceipts")
    if is_late(request):
        code, found = await send("GET", f"{path}/{dispatch['receiptName']}")
        if code == 404:
            await settle(request, too_late(request))
            return True
    else:
        code, found = await send("POST", path, receipt)
        if code == 409:
            code, found = await send("GET", f"{path}/{dispatch['receiptName']}")
    if code not in (200, 201):
        return False
    # Its own also if the answer to the create was lost and it was sent again.
    if found["spec"]["attemptID"] != dispatch["attemptID"]:
        return await taken(request, found)
    outcomes, reason = await call(request, client, dispatch)
    # The request first: people wait for it.
    end = statuses.finished(request, outcomes, reason, dispatch=dispatch)
    await settle(request, end)
    level = "Normal" if reason == "SessionsKilled" else "Warning"
    kopf.event(request, type=level, reason=reason, message=end["conditions"][0]["message"])
    await settle(found, statuses.record(outcomes, reason, dispatch))
    return True


async def taken(request, receipt):
    """Ends a request whose receipt somebody else made, or this peer in an earlier life."""
    spec = receipt["spec"]
    dispatch = {"receiptName": receipt["metadata"]["name"], "startTime": spec["claimTime"]}
    dispatch.update(attemptID=spec["attemptID"], operation=spec["operation"])
    if record := receipt.get("status"):
        dispatch["requestID"] = record.get("requestID", "")
        is_copy = spec["sessionKillRef"]["uid"] != request["metadata"]["uid"]
        reason = "AlreadyExecuted" if is_copy and record["outcome"] == "SessionsKilled" else record["outcome"]
        detail = f"executed before, as SessionKill {spec['sessionKillRef']['name']}"
        await settle(request, statuses.finished(request, record["sessions"], reason, detail, dispatch))
        return True
    until = datetime.fromisoformat(spec["settleDeadlineTime"])
    if (left := (until - datetime.now(UTC)).total_seconds()) > 0:
        # It keeps its slot: this happens after a crash only.
        await asyncio.sleep(left)
        code, receipt = await send("GET", f"{path_of(request, 'sessionkillreceipts')}/{dispatch['receiptName']}")
        return code == 200 and await taken(request, receipt)
    lost = statuses.for_all(request["spec"], "Unknown", "HolderLost")
    detail = f"operator {spec['holderIdentity']} claimed the call and is gone"
    await settle(request, statuses.finished(request, lost, "OutcomeUnknown", detail, dispatch))
    await settle(receipt, statuses.record(lost, "OutcomeUnknown", dispatch))
    return True


def is_late(request):
    return datetime.now(UTC) > datetime.fromisoformat(request["spec"]["notAfterTime"])


def too_late(request):
    skipped = statuses.for_all(request["spec"], "Skipped", "DeadlineExceeded")
    return statuses.finished(request, skipped, "DeadlineExceeded", "notAfterTime passed; nothing was sent")


def client_of(connection, keys):
    names = ("accessKeyID", "accessKeySecret", "securityToken")
    return client(connection["endpoint"], *map(keys.get, names))


@functools.lru_cache(maxsize=16)
def client(endpoint, key_id, secret, token):
    scheme, _, host = endpoint.rpartition("://")
    keys = {"access_key_id": key_id, "access_key_secret": secret, "security_token": token}
    return Client(Config(endpoint=host, protocol=scheme or "https", **keys))


async def call(request, client, dispatch):
    """The one call: what became of each session, and the reason with which the request ends."""
    spec = request["spec"]
    if is_late(request):
        return statuses.for_all(spec, "Skipped", "DeadlineExceeded"), "DeadlineExceeded"
    targets = [{"ServerIp": session["serverIP"], "SessionId": session["sessionID"]} for session in spec["sessions"]]
    parameters = models.KillProcessListRequest(
        instance_id=spec["instanceID"], tenant_id=spec["tenantID"], session_list=json.dumps(targets)
    )
    try:
        answer = (await client.kill_process_list_async(parameters)).body
    except Exception as error:
        logging.error("%s: %s", request["metadata"]["name"], getattr(error, "code", None) or type(error).__name__)
        if 400 <= (getattr(error, "status_code", None) or 0) < 500:
            return statuses.for_all(spec, "Failed", "RequestRejected"), "KillFailed"
        return statuses.for_all(spec, "Unknown", "AnswerLost"), "OutcomeUnknown"
    dispatch["requestID"] = (answer.request_id or "")[:64]
    outcomes = statuses.answered(spec, answer.data)
    return outcomes, statuses.summary(outcomes)


async def settle(resource, status):
    """Writes a last status. The UID keeps it from an object that was created anew under the same name."""
    code = await patch_status(resource, {"uid": resource["metadata"]["uid"]}, status)
    if code != 200:
        logging.error("%s: last status not stored: HTTP %s", resource["metadata"]["name"], code)


async def patch_status(resource, only_if, status):
    path = f"{path_of(resource, resource['kind'].lower() + 's')}/{resource['metadata']['name']}/status"
    return (await send("PATCH", path, {"metadata": only_if, "status": status}))[0]


def path_of(resource, plural):
    return f"{Api.server}/apis/{GROUP}/{VERSION}/namespaces/{resource['metadata']['namespace']}/{plural}"


async def send(method, url, payload=None):
    """Sends a request, again while the API server gives no certain answer. All that is written here may be repeated: a
    claim holds for one version or one name, and a last status is the same each time."""
    headers = {"Content-Type": "application/merge-patch+json" if method == "PATCH" else "application/json"}
    timeout = aiohttp.ClientTimeout(total=30)
    code = None
    for pause in [*PAUSES, None]:
        try:
            async with Api.session.request(method, url, json=payload, headers=headers, timeout=timeout) as answer:
                code = answer.status
                if code < 500 and code != 429:
                    return code, await answer.json()
        except (aiohttp.ClientError, TimeoutError):
            pass
        if pause is not None:
            await asyncio.sleep(pause)
    return code, None
