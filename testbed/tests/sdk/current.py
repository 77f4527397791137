"""The current official SDK against the gateway at GATEWAY, unchanged, in both of its signature versions."""

import json
import os

from alibabacloud_oceanbasepro20190901 import models
from alibabacloud_oceanbasepro20190901.client import Client
from alibabacloud_tea_openapi.models import Config

INSTANCE, TENANT, SERVER = "ob317v4uif0001", "t4louaeei0001", "192.168.13.119"


def client(algorithm, key, secret, token=None):
    return Client(
        Config(
            access_key_id=key,
            access_key_secret=secret,
            security_token=token,
            endpoint=os.environ["GATEWAY"].removeprefix("http://"),
            protocol="http",
            signature_algorithm=algorithm,
        )
    )


def code_of(call):
    try:
        call()
    except Exception as error:
        return getattr(error, "code", None) or repr(error)
    return "OK"


def processes(api, **filters):
    request = models.DescribeProcessStatsCompositionRequest(instance_id=INSTANCE, tenant_id=TENANT, **filters)
    return api.describe_process_stats_composition(request).body.data


def kill(api, session_id, instance=INSTANCE):
    sessions = json.dumps([{"ServerIp": SERVER, "SessionId": session_id}])
    request = models.KillProcessListRequest(instance_id=instance, tenant_id=TENANT, session_list=sessions)
    return api.kill_process_list(request).body.data[0]


def batch_kill(api, session_id, by_session_id):
    sessions = json.dumps([{"ServerIp": SERVER, "SessionId": session_id}])
    request = models.BatchKillProcessListRequest(
        instance_id=INSTANCE, tenant_id=TENANT, session_list=sessions, by_ob_session_id=by_session_id
    )
    return api.batch_kill_process_list(request).body.data[0].success


# `v2` is this SDK's name of signature version 1.0; without a name it uses version 3.
KEYS = [("testbed", "testbed-secret", None), ("STS.temporary", "sts-secret", "t+/=")]
session_id = 1
for algorithm in [None, "v2"]:
    for key, secret, token in KEYS:
        api = client(algorithm, key, secret, token)
        found = processes(api, users=json.dumps(["report 用户*~"]), merge_dynamic_sql=True, sql_text="a+b %")
        rows = found.all_process_list
        assert [row.session_id for row in rows][:1] == [session_id], rows
        assert found.total_session_count == found.active_session_count == len(rows), found
        assert rows[0].proxy_sess_id == "12402504630519660553" and rows[0].execute_time == 742, rows[0]

        killed = kill(api, str(session_id))
        assert (killed.session_id, killed.error_message) == (session_id, ""), killed
        assert (killed.status, killed.execute_time, killed.user) == ("ACTIVE", "742", "report 用户*~"), killed
        assert kill(api, session_id).error_message == f"Unknown thread id: {session_id}"
        assert batch_kill(api, session_id + 1, True) is True
        assert batch_kill(api, session_id + 1, False) is False
        session_id += 2

    assert code_of(lambda: kill(client(algorithm, "nobody", "x"), 1)) == "InvalidAccessKeyId.NotFound"
    assert code_of(lambda: kill(client(algorithm, "testbed", "wrong"), 1)) == "SignatureDoesNotMatch"
    assert code_of(lambda: kill(client(algorithm, "STS.temporary", "sts-secret"), 1)) == "MissingSecurityToken"
    wrong_token = client(algorithm, "STS.temporary", "sts-secret", "other")
    assert code_of(lambda: kill(wrong_token, 1)) == "InvalidSecurityToken.MismatchWithAccessKey"
    api = client(algorithm, "testbed", "testbed-secret")
    assert code_of(lambda: kill(api, 1, instance="ob0")) == "IllegalOperation.Resource"
    assert code_of(lambda: kill(api, 1, instance="")) == "MissingInstanceId"
    assert code_of(lambda: kill(api, "x")) == "InvalidSessionList"
print("all calls went as expected")
