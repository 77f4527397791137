"""The official credential providers against the gateway at GATEWAY and METADATA, unchanged but for host and scheme."""

import os

from alibabacloud_credentials.client import Client as Credentials
from alibabacloud_credentials.models import Config as Source
from alibabacloud_oceanbasepro20190901 import models
from alibabacloud_oceanbasepro20190901.client import Client
from alibabacloud_tea_openapi.models import Config
from Tea.core import TeaCore

HOSTS = {"sts.aliyuncs.com": os.environ["GATEWAY"], "100.100.100.200": os.environ["METADATA"]}
SESSION = os.environ["SESSION"]
real_action = TeaCore.do_action


def redirected_action(request, runtime_option=None):
    host = request.headers["host"]
    request.protocol, request.headers["host"] = "http", HOSTS.get(host, host)
    return real_action(request, runtime_option)


TeaCore.do_action = staticmethod(redirected_action)

SOURCES = [
    Source(
        type="ram_role_arn",
        access_key_id="testbed",
        access_key_secret="testbed-secret",
        role_arn=os.environ["ROLE"],
        role_session_name=SESSION,
    ),
    Source(
        type="oidc_role_arn",
        role_arn=os.environ["OIDC_ROLE"],
        oidc_provider_arn=os.environ["OIDC_PROVIDER"],
        oidc_token_file_path=os.environ["OIDC_TOKEN_FILE"],
        role_session_name=SESSION,
    ),
    Source(type="ecs_ram_role", role_name=os.environ["INSTANCE_ROLE"], disable_imds_v1=True),
]
request = models.DescribeProcessStatsCompositionRequest(instance_id="ob317v4uif0001", tenant_id="t4louaeei0001")
for source in SOURCES:
    config = Config(credential=Credentials(source), endpoint=os.environ["GATEWAY"], protocol="http")
    found = Client(config).describe_process_stats_composition(request).body.data
    assert found.total_session_count == 4, found
print("all providers work")
# The provider of the instance's role may have left a thread behind.
os._exit(0)
