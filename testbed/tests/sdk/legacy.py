"""The legacy official SDK, which signs with version 1.0 only, against the gateway at GATEWAY, unchanged."""

import json
import os

from aliyunsdkcore.acs_exception.exceptions import ServerException
from aliyunsdkcore.auth.credentials import AccessKeyCredential, StsTokenCredential
from aliyunsdkcore.client import AcsClient
from aliyunsdkoceanbasepro.request.v20190901.BatchKillProcessListRequest import BatchKillProcessListRequest
from aliyunsdkoceanbasepro.request.v20190901.DescribeProcessStatsCompositionRequest import (
    DescribeProcessStatsCompositionRequest,
)
from aliyunsdkoceanbasepro.request.v20190901.KillProcessListRequest import KillProcessListRequest

INSTANCE, TENANT, SERVER = "ob317v4uif0001", "t4louaeei0001", "192.168.13.119"


def client(credential):
    return AcsClient(region_id="cn-hangzhou", credential=credential)


def send(api, request, instance=INSTANCE):
    request.set_endpoint(os.environ["GATEWAY"].removeprefix("http://"))
    request.set_InstanceId(instance)
    request.set_TenantId(TENANT)
    return json.loads(api.do_action_with_exception(request))["Data"]


def kill(api, session_id, instance=INSTANCE):
    request = KillProcessListRequest()
    request.set_SessionList(json.dumps([{"ServerIp": SERVER, "SessionId": session_id}]))
    return send(api, request, instance)[0]


def batch_kill(api, session_id, by_session_id):
    request = BatchKillProcessListRequest()
    request.set_SessionList(json.dumps([{"ServerIp": SERVER, "SessionId": session_id}]))
    request.set_ByObSessionId(by_session_id)
    return send(api, request)[0]["Success"]


def processes(api):
    request = DescribeProcessStatsCompositionRequest()
    request.set_Users(json.dumps(["report 用户*~"]))
    request.set_SqlText("a+b %")
    return send(api, request)


def code_of(call):
    try:
        call()
    except ServerException as error:
        return error.get_error_code()
    return "OK"


session_id = 1
for credential in [
    AccessKeyCredential("testbed", "testbed-secret"),
    StsTokenCredential("STS.temporary", "sts-secret", "t+/="),
]:
    api = client(credential)
    rows = processes(api)["AllProcessList"]
    assert [row["SessionId"] for row in rows][:1] == [session_id], rows
    assert kill(api, str(session_id))["ErrorMessage"] == ""
    assert kill(api, session_id)["ErrorMessage"] == f"Unknown thread id: {session_id}"
    assert batch_kill(api, session_id + 1, True) is True
    assert batch_kill(api, session_id + 1, False) is False
    session_id += 2

api = client(AccessKeyCredential("testbed", "testbed-secret"))
assert code_of(lambda: kill(client(AccessKeyCredential("nobody", "x")), 1)) == "InvalidAccessKeyId.NotFound"
# This client compares the echoed string to sign with its own and only then blames the secret: both canonicalise alike.
assert code_of(lambda: kill(client(AccessKeyCredential("testbed", "wrong")), 1)) == "InvalidAccessKeySecret"
no_token = client(AccessKeyCredential("STS.temporary", "sts-secret"))
assert code_of(lambda: kill(no_token, 1)) == "MissingSecurityToken"
wrong_token = client(StsTokenCredential("STS.temporary", "sts-secret", "other"))
assert code_of(lambda: kill(wrong_token, 1)) == "InvalidSecurityToken.MismatchWithAccessKey"
assert code_of(lambda: kill(api, 1, instance="ob0")) == "IllegalOperation.Resource"
assert code_of(lambda: kill(api, "x")) == "InvalidSessionList"
print("all calls went as expected")
