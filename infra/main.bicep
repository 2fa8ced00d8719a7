// Everything Tocsin needs in Azure, in a resource group of its own beside the one it watches.
//
// What needs the code to be there already (the event subscriptions, and the address that native alerts are posted to)
// stands in events.bicep, which is deployed after the code.

targetScope = 'resourceGroup'

@description('Name of this environment, such as prod. It becomes part of every name.')
@minLength(1)
@maxLength(64)
param envName string

@description('Where everything is.')
param location string = resourceGroup().location

// What is watched

@description('The resource group of the accelerator that is watched. Its name alone is enough for one that azd deployed.')
@minLength(1)
param watchedResourceGroup string

@description('The subscription of that resource group. Empty: that of Tocsin.')
param watchedSubscription string = ''

@description('The environment name of the accelerator, where its resource group has no azd-env-name tag.')
param watchedEnvironment string = ''

@description('The Container App that is watched. Empty: the name that the accelerator gives it.')
param watchedContainerApp string = ''

@description('The Log Analytics workspace of the accelerator, by name. Empty: the name that the accelerator gives it.')
param watchedWorkspace string = ''

@description('The resource group of that workspace, where it is another.')
param watchedWorkspaceResourceGroup string = ''

@description('The Application Insights component of the accelerator, by name: its telemetry is found by it. Empty: the name that the accelerator gives it.')
param watchedApplicationInsights string = ''

@description('The resource group of that component, where it is another.')
param watchedApplicationInsightsResourceGroup string = ''

@description('The role name (AppRoleName) of the accelerator in its telemetry, where other apps write to that component, too. Empty: whatever it calls itself.')
param watchedRoleName string = ''

@description('Further targets of a fleet. Each is granted and subscribed to as the first; tocsin.yaml names it.')
param moreTargets watchedTarget[] = []

// Who is told

@description('Who hears that Tocsin itself has stopped: addresses with commas. Nothing else can tell of that.')
@minLength(3)
param alertEmails string

@description('Who may approve actions by a link: names or object ids with commas. Empty: nobody.')
param approvers string = ''

@description('How far policies may go: off, observe, ask or act. docs/deploying.md says when to change it.')
@allowed(['off', 'observe', 'ask', 'act'])
param automation string = 'observe'

@description('Client id of the Entra application by which people sign in for links. Empty: no sign-in, and nobody approves by a link.')
param signInClientId string = ''

@description('Where PagerDuty takes events; its European service has another address.')
param pagerdutyEndpoint string = 'https://events.pagerduty.com'

// Secrets

@description('App settings that are references to Key Vault, with commas. The secret of MY_SETTING is called MY-SETTING.')
param vaultSettings string = 'TEAMS_WEBHOOK_URL,PAGERDUTY_ROUTING_KEY,TOCSIN_LINK_SECRET'

@description('The webhook of the Teams channel. Empty: whatever the vault has stays.')
@secure()
param teamsWebhookUrl string = ''

@description('The routing key of the PagerDuty service. Empty: whatever the vault has stays.')
@secure()
param pagerdutyRoutingKey string = ''

@description('What signs the links in messages, 32 letters or more. Empty: whatever the vault has stays.')
@secure()
param linkSecret string = ''

@description('Whoever deploys may write secrets: the object id. Empty: nobody is granted that here.')
param principalId string = ''

@description('What that object is. Empty: Azure looks, which takes until a new one is known everywhere.')
@allowed(['', 'User', 'Group', 'ServicePrincipal'])
param principalType string = ''

// How it runs

@description('The version of Python.')
@allowed(['3.11', '3.12', '3.13'])
param pythonVersion string = '3.13'

@description('When the timer ticks, as six-field NCRONTAB.')
param tickSchedule string = '0 * * * * *'

@description('Memory of one instance, in MB.')
@allowed([512, 2048, 4096])
param instanceMemory int = 2048

@description('How many instances there are at most.')
@minValue(40)
@maxValue(1000)
param maximumInstances int = 40

@description('Keep one instance of the timer running: no cold start, at the price of one instance all day.')
param alwaysReady bool = false

@description('Spread plan and storage over the zones of the region.')
param zoneRedundant bool = false

@description('Further app settings, none of them secret. A setting made by hand is gone with the next deployment; these stay.')
param extraSettings object = {}

@description('Addresses (CIDR, with commas) from which people, services and deployments reach the app besides Event Grid and action groups. Empty: from everywhere.')
param inboundAddresses string = ''

// What is kept

@description('Days that the log of the watcher is kept.')
@minValue(30)
@maxValue(730)
param logRetentionDays int = 90

@description('Days for which no record of the audit can be changed or deleted.')
@minValue(1)
@maxValue(146000)
param auditRetentionDays int = 365

@description('Lock the retention of the audit, for good: afterwards it can only be made longer. Azure locks what was there unlocked, so not with the first deployment.')
param auditLocked bool = false

@description('Keep the vault and its secrets for 90 days whoever deletes them. It cannot be turned off again.')
param purgeProtection bool = false

// Options

@description('Changes of a watched Container App cause an evaluation at once. Off where a watched group has an event topic already.')
param events bool = true

@description('A policy may stop a whole Container App, once a person has approved it: the last resort where no killswitch comes to serve.')
param lastResort bool = true

@description('Deploy the workbook.')
param workbook bool = true

@description('Reach storage and secrets over a virtual network alone.')
param privateNetwork bool = false

@description('With privateNetwork: close the public endpoint of the state account altogether, where a policy demands it. Event Grid then cannot keep its dead letters.')
param closedStorage bool = false

@description('The virtual network that is made, where no subnets are given: a /25 or larger.')
param addressPrefix string = '10.90.0.0/24'

@description('A subnet of yours for the function app, delegated to Microsoft.App/environments. Empty: one is made.')
param functionsSubnetId string = ''

@description('A subnet of yours for the private endpoints. Empty: one is made.')
param endpointsSubnetId string = ''

@description('Private DNS zones of yours by blob, queue, table and vault: resource ids. What is missing is made.')
param privateDnsZoneIds object = {}

@description('Event Grid topics in this subscription to which policies publish: resource ids with commas.')
param eventGridTopics string = ''

@description('One target: a Container App and the workspace that its telemetry goes to.')
type watchedTarget = {
  subscription: string?
  resourceGroup: string
  containerApp: string
  workspace: string
  workspaceResourceGroup: string?
}

var token = uniqueString(subscription().id, resourceGroup().id, envName)
var tags = {
  'azd-env-name': envName
  workload: 'tocsin'
}
// azd lets an environment's name have 64 letters, with _ . ( and ), which most names in Azure may not. The token, made of
// the whole name, still tells two such environments apart.
var shortName = take(replace(replace(replace(replace(envName, '_', '-'), '.', '-'), '(', '-'), ')', '-'), 40)
var names = {
  plan: 'plan-${shortName}-${token}'
  app: 'func-${shortName}-${token}'
  storage: 'st${token}'
  audit: 'staudit${token}'
  vault: 'kv-tocsin-${token}'
  workspace: 'log-${shortName}-${token}'
  component: 'appi-${shortName}-${token}'
}
// azd hands over an empty text for a variable that nobody has set: an expression as the parameter's default would not be asked.
var watchedIn = empty(watchedSubscription) ? subscription().subscriptionId : watchedSubscription
var wantsLinks = contains(split(replace(vaultSettings, ' ', ''), ','), 'TOCSIN_LINK_SECRET')

var others = [
  for each in moreTargets: {
    subscription: each.?subscription ?? subscription().subscriptionId
    resourceGroup: each.resourceGroup
    environment: ''
    containerApp: each.containerApp
    workspace: each.workspace
    workspaceResourceGroup: each.?workspaceResourceGroup ?? each.resourceGroup
    applicationInsights: ''
  }
]
var targets = concat(
  [
    {
      subscription: watchedIn
      resourceGroup: watchedResourceGroup
      environment: watchedEnvironment
      containerApp: watchedContainerApp
      workspace: watchedWorkspace
      workspaceResourceGroup: empty(watchedWorkspaceResourceGroup) ? watchedResourceGroup : watchedWorkspaceResourceGroup
      applicationInsights: watchedApplicationInsights
    }
  ],
  others
)
var subscribed = events ? targets : []
var topics = filter(split(replace(eventGridTopics, ' ', ''), ','), each => !empty(each))

module identities 'modules/identities.bicep' = {
  name: 'tocsin-identities'
  params: {
    shortName: shortName
    token: token
    location: location
    tags: tags
  }
}

module storage 'modules/storage.bicep' = {
  name: 'tocsin-storage'
  params: {
    name: names.storage
    location: location
    tags: tags
    zoneRedundant: zoneRedundant
    privateNetwork: privateNetwork
    // Without the network the app itself would be outside, and nothing would be watched.
    closed: privateNetwork && closedStorage
  }
}

module audit 'modules/audit.bicep' = {
  name: 'tocsin-audit'
  params: {
    name: names.audit
    location: location
    tags: tags
    zoneRedundant: zoneRedundant
    privateNetwork: privateNetwork
    retentionDays: auditRetentionDays
    locked: auditLocked
    writerPrincipalId: identities.outputs.actuatorPrincipalId
  }
}

module vault 'modules/vault.bicep' = {
  name: 'tocsin-vault'
  params: {
    name: names.vault
    location: location
    tags: tags
    privateNetwork: privateNetwork
    purgeProtection: purgeProtection
    teamsWebhookUrl: teamsWebhookUrl
    pagerdutyRoutingKey: pagerdutyRoutingKey
    linkSecret: linkSecret
  }
}

module telemetry 'modules/telemetry.bicep' = {
  name: 'tocsin-telemetry'
  params: {
    workspaceName: names.workspace
    componentName: names.component
    location: location
    tags: tags
    retentionDays: logRetentionDays
  }
}

module grants 'modules/grants.bicep' = {
  name: 'tocsin-grants'
  params: {
    storageName: storage.outputs.name
    vaultName: vault.outputs.name
    componentName: telemetry.outputs.componentName
    hostPrincipalId: identities.outputs.hostPrincipalId
    actuatorPrincipalId: identities.outputs.actuatorPrincipalId
    deployerPrincipalId: principalId
    deployerPrincipalType: principalType
  }
}

// One after the other: two targets in one resource group share its topic and its role.
@batchSize(1)
module watched 'modules/watched.bicep' = [
  for (each, index) in targets: {
    name: 'tocsin-watched-${token}-${index}'
    scope: resourceGroup(each.subscription, each.resourceGroup)
    params: {
      environmentName: each.environment
      containerApp: each.containerApp
      workspace: each.workspace
      applicationInsights: each.applicationInsights
      readerPrincipalId: identities.outputs.readerPrincipalId
      actuatorPrincipalId: identities.outputs.actuatorPrincipalId
      events: events
      lastResort: lastResort
      tags: tags
    }
  }
]

@batchSize(1)
module workspaces 'modules/watched-workspace.bicep' = [
  for (each, index) in targets: {
    name: 'tocsin-workspace-${token}-${index}'
    scope: resourceGroup(each.subscription, each.workspaceResourceGroup)
    params: {
      name: watched[index].outputs.workspace
      readerPrincipalId: identities.outputs.readerPrincipalId
    }
  }
]

// Of the first target alone: what finds the telemetry of the others stands in tocsin.yaml.
module component 'modules/watched-component.bicep' = {
  name: 'tocsin-component-${token}'
  scope: resourceGroup(watchedIn, empty(watchedApplicationInsightsResourceGroup) ? watchedResourceGroup : watchedApplicationInsightsResourceGroup)
  params: {
    name: watched[0].outputs.applicationInsights
  }
}

@batchSize(1)
module deadLetters 'modules/dead-letters.bicep' = [
  for (each, index) in subscribed: {
    name: 'tocsin-dead-letters-${index}'
    params: {
      storageName: storage.outputs.name
      container: storage.outputs.deadLetters
      principalId: watched[index].outputs.topicPrincipalId
    }
  }
]

module senders 'modules/sender.bicep' = [
  for (each, index) in topics: {
    name: 'tocsin-sender-${token}-${index}'
    scope: resourceGroup(split(each, '/')[2], split(each, '/')[4])
    params: {
      topic: last(split(each, '/'))
      principalId: identities.outputs.actuatorPrincipalId
    }
  }
]

module network 'modules/network.bicep' = if (privateNetwork) {
  name: 'tocsin-network'
  params: {
    shortName: shortName
    token: token
    location: location
    tags: tags
    addressPrefix: addressPrefix
    functionsSubnetId: functionsSubnetId
    endpointsSubnetId: endpointsSubnetId
    zoneIds: privateDnsZoneIds
    storageId: storage.outputs.id
    auditId: audit.outputs.id
    vaultId: vault.outputs.id
  }
}

module functionApp 'modules/function-app.bicep' = {
  name: 'tocsin-function-app'
  params: {
    name: names.app
    planName: names.plan
    location: location
    tags: tags
    pythonVersion: pythonVersion
    instanceMemory: instanceMemory
    maximumInstances: maximumInstances
    alwaysReady: alwaysReady
    zoneRedundant: zoneRedundant
    subnetId: privateNetwork ? network!.outputs.functionsSubnetId : ''
    inboundAddresses: inboundAddresses
    signInClientId: signInClientId
    hostId: identities.outputs.hostId
    hostClientId: identities.outputs.hostClientId
    readerId: identities.outputs.readerId
    readerClientId: identities.outputs.readerClientId
    actuatorId: identities.outputs.actuatorId
    actuatorClientId: identities.outputs.actuatorClientId
    storageName: storage.outputs.name
    deploymentContainer: storage.outputs.deployments
    auditAddress: audit.outputs.address
    vaultUri: vault.outputs.uri
    componentName: telemetry.outputs.componentName
    vaultSettings: vaultSettings
    wantsLinks: wantsLinks
    settings: union(
      {
        TICK_SCHEDULE: tickSchedule
        TOCSIN_APPROVERS: approvers
        TOCSIN_AUTOMATION: automation
        WATCHED_WORKSPACE: workspaces[0].outputs.customerId
        WATCHED_SUBSCRIPTION: watchedIn
        WATCHED_RESOURCE_GROUP: watchedResourceGroup
        WATCHED_CONTAINER_APP: watched[0].outputs.containerApp
        WATCHED_APPLICATION_INSIGHTS: component.outputs.id
        WATCHED_ROLE_NAME: watchedRoleName
        PAGERDUTY_ENDPOINT: pagerdutyEndpoint
      },
      extraSettings
    )
  }
  dependsOn: [grants]
}

module alerts 'modules/alerts.bicep' = {
  name: 'tocsin-alerts'
  params: {
    envName: envName
    shortName: shortName
    token: token
    location: location
    tags: tags
    workspaceId: telemetry.outputs.workspaceId
    emails: alertEmails
  }
}

module book 'modules/workbook.bicep' = if (workbook) {
  name: 'tocsin-workbook'
  params: {
    location: location
    tags: tags
    displayName: 'Tocsin ${envName}'
    ownWorkspaceId: telemetry.outputs.workspaceId
    watchedWorkspaceId: workspaces[0].outputs.id
  }
}

// What azd keeps and the hooks use. None of it is secret. None has the name of a variable that main.parameters.json reads:
// azd would hand it over as somebody's choice the next time, and the names that were right for one target would stay for another.
output AZURE_KEY_VAULT_NAME string = vault.outputs.name
output TOCSIN_FUNCTION_APP string = functionApp.outputs.name
output TOCSIN_PUBLIC_URL string = functionApp.outputs.address
output TOCSIN_STORAGE_ACCOUNT string = storage.outputs.name
output TOCSIN_TABLES string = functionApp.outputs.tables
output TOCSIN_QUEUES string = functionApp.outputs.queues
output TOCSIN_AUDIT string = audit.outputs.address
output TOCSIN_READER_CLIENT_ID string = identities.outputs.readerClientId
output TOCSIN_ACTUATOR_CLIENT_ID string = identities.outputs.actuatorClientId
output TOCSIN_ALERTS_TO string = alerts.outputs.groupId
output TOCSIN_OUTBOUND_ADDRESS string = privateNetwork ? network!.outputs.outboundAddress : ''
output WATCHED_WORKSPACE string = workspaces[0].outputs.customerId
output WATCHED_APPLICATION_INSIGHTS string = component.outputs.id

@description('What events.bicep subscribes to.')
output TOCSIN_TARGETS array = [
  for (each, index) in subscribed: {
    subscription: each.subscription
    resourceGroup: each.resourceGroup
    containerApp: watched[index].outputs.containerApp
    topic: watched[index].outputs.topic
  }
]
