// What needs the code to be there: Event Grid looks for the function before it makes a subscription, and the host makes a
// function's key when it first sees the function. Deployed after the code, into the same resource group as main.bicep.

targetScope = 'resourceGroup'

@description('Name of this environment, as for main.bicep.')
@minLength(1)
@maxLength(64)
param envName string

@description('The function app: TOCSIN_FUNCTION_APP of main.bicep.')
param functionAppName string

@description('The state account, whose container takes what nobody took: TOCSIN_STORAGE_ACCOUNT of main.bicep.')
param storageAccountName string

@description('Whom the alert on dead letters tells: TOCSIN_ALERTS_TO of main.bicep.')
param alertsTo string

@description('What is subscribed to: TOCSIN_TARGETS of main.bicep.')
param targets subscribedTarget[]

@description('Object id of the Entra application whose token native alerts bring besides the function\'s key. Empty: the key alone.')
param webhookObjectId string = ''

@description('Its identifier URI, such as api://CLIENT-ID.')
param webhookIdentifierUri string = ''

type subscribedTarget = {
  subscription: string
  resourceGroup: string
  containerApp: string
  topic: string
}

var token = uniqueString(subscription().id, resourceGroup().id, envName)
var shortName = take(replace(replace(replace(replace(envName, '_', '-'), '.', '-'), '(', '-'), ')', '-'), 40)
var tags = {
  'azd-env-name': envName
  workload: 'tocsin'
}

resource app 'Microsoft.Web/sites@2025-03-01' existing = {
  name: functionAppName
}

resource storage 'Microsoft.Storage/storageAccounts@2026-04-01' existing = {
  name: storageAccountName
}

// One after the other: two targets in one resource group share its topic.
@batchSize(1)
module subscriptions 'modules/event-subscription.bicep' = [
  for (each, index) in targets: {
    name: 'tocsin-events-${token}-${index}'
    scope: resourceGroup(each.subscription, each.resourceGroup)
    params: {
      topic: each.topic
      containerApp: each.containerApp
      functionId: '${app.id}/functions/react'
      storageId: storage.id
      container: 'dead-letters'
      keepsDeadLetters: storage.properties.publicNetworkAccess != 'Disabled'
      actionGroupId: alertsTo
      token: token
      tags: tags
    }
  }
]

// The function asks for its key, whoever posts. With an Entra application the post carries its token besides, which sign-in
// looks at where it is on: then it has to be the same application, for any other's may be refused.
var webhook = union(
  {
    name: 'tocsin'
    serviceUri: 'https://${app.properties.defaultHostName}/api/events?code=${listKeys('${app.id}/functions/events', '2025-03-01').default}'
    useCommonAlertSchema: true
  },
  empty(webhookObjectId)
    ? {}
    : {
        useAadAuth: true
        objectId: webhookObjectId
        identifierUri: webhookIdentifierUri
        tenantId: tenant().tenantId
      }
)

@description('Attach this action group to alert rules of your own: Tocsin tells of them and answers them by policy.')
resource group 'Microsoft.Insights/actionGroups@2023-01-01' = {
  name: 'ag-tocsin-events-${shortName}-${token}'
  location: 'global'
  tags: tags
  properties: {
    groupShortName: 'tocsin-in'
    enabled: true
    webhookReceivers: [webhook]
  }
}

output TOCSIN_NATIVE_ALERTS string = group.id
