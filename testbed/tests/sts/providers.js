// The official credential providers against the gateway at GATEWAY and METADATA, unchanged but for host and scheme.
'use strict'

const assert = require('node:assert')
const { createRequire } = require('node:module')

const Credentials = require('@alicloud/credentials')
const OpenApi = require('@alicloud/openapi-client')
const Util = require('@alicloud/tea-util')

const { GATEWAY, METADATA, ROLE, OIDC_ROLE, OIDC_PROVIDER, OIDC_TOKEN_FILE, INSTANCE_ROLE, SESSION } = process.env
const HOSTS = { 'sts.aliyuncs.com': GATEWAY, '100.100.100.200': METADATA }

// What the providers send requests with.
const httpx = createRequire(require.resolve('@alicloud/credentials'))('httpx')
const send = httpx.request
httpx.request = (text, options) => {
  const url = new URL(text)
  const host = HOSTS[url.host]
  return send(host ? `http://${host}${url.pathname}${url.search}` : text, options)
}

const sources = [
  { type: 'ram_role_arn', accessKeyId: 'testbed', accessKeySecret: 'testbed-secret', roleArn: ROLE, roleSessionName: SESSION },
  {
    type: 'oidc_role_arn',
    roleArn: OIDC_ROLE,
    oidcProviderArn: OIDC_PROVIDER,
    oidcTokenFilePath: OIDC_TOKEN_FILE,
    roleSessionName: SESSION
  },
  { type: 'ecs_ram_role', roleName: INSTANCE_ROLE, disableIMDSv1: true }
]

const params = new OpenApi.Params({
  action: 'DescribeProcessStatsComposition',
  version: '2019-09-01',
  protocol: 'HTTP',
  method: 'POST',
  authType: 'AK',
  style: 'RPC',
  pathname: '/',
  reqBodyType: 'formData',
  bodyType: 'json'
})

async function main () {
  for (const source of sources) {
    const credential = new Credentials.default(new Credentials.Config(source))
    const client = new OpenApi.default(new OpenApi.Config({ credential, endpoint: GATEWAY, protocol: 'http' }))
    const request = new OpenApi.OpenApiRequest({ body: { InstanceId: 'ob317v4uif0001', TenantId: 't4louaeei0001' } })
    const answer = await client.callApi(params, request, new Util.RuntimeOptions({}))
    assert.strictEqual(answer.body.Data.TotalSessionCount, 4)
  }
}

main().then(() => process.exit(0), error => {
  console.error(error)
  process.exit(1)
})
