"""What the operator writes: statuses of requests, claims and their records. Pure."""

import hashlib
import json
import uuid
from datetime import UTC, datetime, timedelta

CALL_LIMIT = timedelta(seconds=15)
# From the latest end of a call to the moment at which others may take its claim for orphaned.
SETTLE_MARGIN = timedelta(seconds=10)


def timestamp(moment=None):
    return (moment or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%SZ")


def for_all(spec, outcome, reason):
    ids = [{"serverIP": session["serverIP"], "sessionID": session["sessionID"]} for session in spec["sessions"]]
    return [{**id, "outcome": outcome, "reason": reason} for id in ids]


def answered(spec, rows):
    """The outcome of each session by the rows of the API's answer."""
    by_id = {(row.server_ip, row.session_id): row for row in rows or []}
    statuses = for_all(spec, "Unknown", "MissingInAnswer")
    for status in statuses:
        row = by_id.get((status["serverIP"], status["sessionID"]))
        if row is None:
            continue
        refused = row.error_message or ""
        observed = {
            "observationTime": timestamp(),
            "tenantID": (row.tenant_id or "")[:64],
            "user": (row.user or "")[:128],
            "database": (row.database or "")[:128],
            "clientIP": (row.client_ip or "")[:64],
            "command": (row.command or "")[:64],
            "sqlText": (row.sql_text or "")[:256],
            "executeTime": str(row.execute_time or "")[:32],
        }
        status.update(
            outcome="Failed" if refused else "Killed",
            reason="KillRefused" if refused else "Accepted",
            status=(row.status or "")[:64],
            errorMessage=refused[:1024],
            observed={name: value for name, value in observed.items() if value},
        )
    return statuses


def summary(statuses):
    """The reason with which a request ends whose sessions ended like this."""
    outcomes = {status["outcome"] for status in statuses}
    if "Unknown" in outcomes:
        return "OutcomeUnknown"
    if outcomes == {"Killed"}:
        return "SessionsKilled"
    return "PartiallyKilled" if "Killed" in outcomes else "KillFailed"


def conditions(request, succeeded, reason, message):
    kinds = {
        "True": {"Succeeded": "True", "Ready": "True"},
        "False": {"Succeeded": "False", "Ready": "False", "Stalled": "True"},
        "Unknown": {"Succeeded": "Unknown", "Ready": "False", "Reconciling": "True"},
    }
    return [
        {
            "type": kind,
            "status": status,
            "reason": reason,
            "message": message,
            "observedGeneration": request["metadata"]["generation"],
            "lastTransitionTime": timestamp(),
        }
        for kind, status in kinds[succeeded].items()
    ]


def claimed(request, dispatch):
    return {
        "observedGeneration": request["metadata"]["generation"],
        "startTime": dispatch["startTime"],
        "dispatch": dispatch,
        "conditions": conditions(request, "Unknown", "Dispatching", "the call is being made"),
    }


def finished(request, statuses, reason, detail="", dispatch=None):
    outcomes = [status["outcome"] for status in statuses]
    counts = {name.lower(): outcomes.count(name) for name in ("Killed", "Gone", "Skipped", "Failed", "Unknown")}
    counts["total"] = len(statuses)
    message = f"{counts['killed']} of {counts['total']} sessions killed" + (f": {detail}" if detail else "")
    succeeded = "True" if reason in ("SessionsKilled", "AlreadyExecuted") else "False"
    now = timestamp()
    status = {
        "observedGeneration": request["metadata"]["generation"],
        "startTime": now,
        "completionTime": now,
        "counts": counts,
        "sessions": statuses,
        "conditions": conditions(request, succeeded, reason, message),
    }
    # A merge patch keeps what it does not name: the dispatch of a claim.
    if dispatch:
        status.update(startTime=dispatch["startTime"], dispatch=dispatch)
    if earlier := request.get("status", {}).get("startTime"):
        status["startTime"] = earlier
    return status


def new_dispatch(receipt_name=""):
    return {
        "receiptName": receipt_name,
        "attemptID": uuid.uuid4().hex,
        "operation": "KillProcessList",
        "startTime": timestamp(),
    }


def receipt_name(spec):
    """Derived as the operator under test derives it, so that each respects the other's receipts."""
    sessions = sorted(spec["sessions"], key=lambda session: (session["serverIP"], session["sessionID"]))
    not_after = datetime.fromisoformat(spec["notAfterTime"])
    canonical = {
        "form": 1,
        "connection": spec["connectionRef"]["name"],
        "instance": spec["instanceID"],
        "tenant": spec["tenantID"],
        "sessions": [{"serverIP": session["serverIP"], "sessionID": session["sessionID"]} for session in sessions],
        # Exact to microseconds, which is all that datetime holds.
        "not_after": (not_after - datetime.fromtimestamp(0, UTC)) // timedelta(microseconds=1) * 1000,
    }
    return "sk-" + hashlib.sha256(json.dumps(canonical, separators=(",", ":")).encode()).hexdigest()[:40]


def receipt(request, dispatch, holder):
    """The claim of a request for one attempt."""
    spec = request["spec"]
    now = datetime.now(UTC)
    dispatch_deadline = min(now + CALL_LIMIT, datetime.fromisoformat(spec["notAfterTime"]))
    return {
        "apiVersion": request["apiVersion"],
        "kind": "SessionKillReceipt",
        "metadata": {"name": dispatch["receiptName"]},
        "spec": {
            "sessionKillRef": {"name": request["metadata"]["name"], "uid": request["metadata"]["uid"]},
            "attemptID": dispatch["attemptID"],
            "holderIdentity": holder,
            "claimTime": dispatch["startTime"],
            "dispatchDeadlineTime": timestamp(dispatch_deadline),
            "settleDeadlineTime": timestamp(dispatch_deadline + CALL_LIMIT + SETTLE_MARGIN),
            "notAfterTime": spec["notAfterTime"],
            "connectionName": spec["connectionRef"]["name"],
            "instanceID": spec["instanceID"],
            "tenantID": spec["tenantID"],
            "operation": dispatch["operation"],
            "sessions": for_all(spec, "Pending", "Waiting"),
        },
    }


def record(statuses, reason, dispatch):
    return {
        "outcome": reason,
        "completionTime": timestamp(),
        "requestID": dispatch.get("requestID", ""),
        "operation": dispatch["operation"],
        "sessions": statuses,
    }
