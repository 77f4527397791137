"""The script that somebody would run without an operator: ends the sessions that SessionKills name, one after the other.
See ../README.md."""

import base64
import functools
import json
import logging
from datetime import UTC, datetime

from alibabacloud_oceanbasepro20190901 import models
from alibabacloud_oceanbasepro20190901.client import Client
from alibabacloud_tea_openapi.models import Config
from kubernetes import client, config, watch
from kubernetes.client.exceptions import ApiException

NAMESPACE = "default"
KINDS = {"group": "sessionkill.dev", "version": "v1alpha1", "namespace": NAMESPACE}
UNFINISHED = {**KINDS, "plural": "sessionkills", "field_selector": "status.completionTime="}


def main():
    config.load_kube_config()
    objects = client.CustomObjectsApi()
    while True:
        found = objects.list_namespaced_custom_object(**UNFINISHED)
        print("ready", flush=True)
        for request in found["items"]:
            handle(objects, request)
        try:
            follow(objects, found["metadata"]["resourceVersion"])
        except ApiException as error:
            # The version is too old by now: list again.
            logging.warning("watch ended: HTTP %s", error.status)


def follow(objects, version):
    stream = watch.Watch().stream(objects.list_namespaced_custom_object, resource_version=version, **UNFINISHED)
    for event in stream:
        if event["type"] == "ADDED":
            handle(objects, event["object"])


def handle(objects, request):
    spec = request["spec"]
    asks_for_more = spec["mode"] != "Kill" or spec.get("suspend") or spec.get("notBeforeTime")
    if asks_for_more or any(session.get("expect") for session in spec["sessions"]):
        return
    name = request["metadata"]["name"]
    status = status_of(request, *kill(spec))
    try:
        objects.patch_namespaced_custom_object_status(
            **KINDS, plural="sessionkills", name=name, body={"status": status}, _content_type="application/merge-patch+json"
        )
    except ApiException as error:
        logging.error("%s: status not stored: HTTP %s", name, error.status)


def kill(spec):
    """Makes a call for each session; returns their outcomes and the ID of the last answer."""
    api = client_of(spec["connectionRef"]["name"])
    outcomes, request_id = [], ""
    for session in spec["sessions"]:
        outcome = {"serverIP": session["serverIP"], "sessionID": session["sessionID"]}
        if datetime.now(UTC) > datetime.fromisoformat(spec["notAfterTime"]):
            outcomes.append({**outcome, "outcome": "Skipped", "reason": "DeadlineExceeded"})
            continue
        target = {"ServerIp": session["serverIP"], "SessionId": session["sessionID"]}
        parameters = models.KillProcessListRequest(
            instance_id=spec["instanceID"], tenant_id=spec["tenantID"], session_list=json.dumps([target])
        )
        try:
            answer = api.kill_process_list(parameters).body
            request_id = (answer.request_id or "")[:64]
            outcomes.append(outcome | row_outcome(answer.data))
        except Exception as error:
            logging.error("session %s: %s", session["sessionID"], getattr(error, "code", None) or type(error).__name__)
            is_refused = 400 <= (getattr(error, "status_code", None) or 0) < 500
            why = ("Failed", "RequestRejected") if is_refused else ("Unknown", "AnswerLost")
            outcomes.append({**outcome, "outcome": why[0], "reason": why[1]})
    return outcomes, request_id


def row_outcome(rows):
    if not rows:
        return {"outcome": "Unknown", "reason": "MissingInAnswer"}
    row = rows[0]
    if row.error_message:
        return {"outcome": "Failed", "reason": "KillRefused", "errorMessage": row.error_message[:1024]}
    observed = {"user": row.user, "database": row.database, "clientIP": row.client_ip, "command": row.command}
    observed = {key: value[:64] for key, value in observed.items() if value}
    return {"outcome": "Killed", "reason": "Accepted", "status": (row.status or "")[:64], "observed": observed}


@functools.cache
def client_of(connection):
    """Read once: a changed access key is seen at the next start."""
    objects = client.CustomObjectsApi()
    spec = objects.get_namespaced_custom_object(**KINDS, plural="oceanbaseconnections", name=connection)["spec"]
    spec = spec["alibabaCloud"]
    reference = spec["credentials"]["secretRef"]
    data = client.CoreV1Api().read_namespaced_secret(reference["name"], NAMESPACE).data
    value = {key: base64.b64decode(text).decode() for key, text in data.items()}
    scheme, _, host = spec["endpoint"].rpartition("://")
    return Client(
        Config(
            access_key_id=value["accessKeyID"],
            access_key_secret=value["accessKeySecret"],
            security_token=value.get("securityToken"),
            endpoint=host,
            protocol=scheme or "https",
        )
    )


def status_of(request, outcomes, request_id):
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    names = [outcome["outcome"] for outcome in outcomes]
    counts = {name.lower(): names.count(name) for name in ("Killed", "Gone", "Skipped", "Failed", "Unknown")}
    counts["total"] = len(names)
    if counts["killed"] == counts["total"]:
        reason = "SessionsKilled"
    elif counts["unknown"]:
        reason = "OutcomeUnknown"
    elif counts["skipped"] == counts["total"]:
        reason = "DeadlineExceeded"
    else:
        reason = "PartiallyKilled" if counts["killed"] else "KillFailed"
    is_done = reason == "SessionsKilled"
    conditions = {"Succeeded": is_done, "Ready": is_done} | ({} if is_done else {"Stalled": True})
    return {
        "observedGeneration": request["metadata"]["generation"],
        "startTime": now,
        "completionTime": now,
        "dispatch": {
            "receiptName": "",
            "attemptID": request["metadata"]["uid"],
            "operation": "KillProcessList",
            "requestID": request_id,
            "startTime": now,
        },
        "counts": counts,
        "sessions": outcomes,
        "conditions": [
            {
                "type": kind,
                "status": str(holds),
                "reason": reason,
                "message": f"{counts['killed']} of {counts['total']} sessions killed",
                "observedGeneration": request["metadata"]["generation"],
                "lastTransitionTime": now,
            }
            for kind, holds in conditions.items()
        ],
    }


if __name__ == "__main__":
    main()
