// Deployed into the resource group of one target: who may read there, who may change its Container App, and the topic
// that tells of changes. Nothing that is there already is touched.

@description('The azd environment name of the accelerator. Empty: that of the resource group\'s tag.')
param environmentName string

@description('Empty: the name that the accelerator gives it.')
param containerApp string

@description('Empty: the name that the accelerator gives it.')
param workspace string

@description('Empty: the name that the accelerator gives it.')
param applicationInsights string

param readerPrincipalId string
param actuatorPrincipalId string
param events bool

@description('May the actuator stop the whole app, once a person has approved that? The last resort where no killswitch comes to serve.')
param lastResort bool
param tags object

var groupId = resourceGroup().id
var roles = loadJsonContent('../roles.json')
var groupTags = resourceGroup().?tags ?? {}
var tagged = contains(groupTags, 'azd-env-name') ? groupTags['azd-env-name'] : ''
var accelerator = empty(environmentName) ? tagged : environmentName
var acceleratorToken = uniqueString(subscription().id, groupId, accelerator)
var appName = empty(containerApp) ? 'api-${accelerator}-${acceleratorToken}' : containerApp
var workspaceName = empty(workspace) ? 'log-${accelerator}-${acceleratorToken}' : workspace
var componentName = empty(applicationInsights) ? 'appi-${accelerator}-${acceleratorToken}' : applicationInsights
var actuatorRole = guid(groupId, 'tocsin-actuator')
var lastResortRole = guid(groupId, 'tocsin-last-resort')

resource app 'Microsoft.App/containerApps@2026-01-01' existing = {
  name: appName
}

// Configuration and platform metrics of everything a target has.
resource reads 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(groupId, readerPrincipalId, roles.monitoringReader)
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.monitoringReader)
    principalId: readerPrincipalId
    principalType: 'ServicePrincipal'
  }
}

// What the shipped actions need at a Container App, and nothing more: no secret can be read with it.
resource actuator 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: actuatorRole
  properties: {
    roleName: 'Tocsin actuator ${uniqueString(groupId)}'
    description: 'Changes the template and the revisions of a Container App.'
    type: 'CustomRole'
    permissions: [
      {
        actions: [
          'Microsoft.App/containerApps/read'
          'Microsoft.App/containerApps/write'
          'Microsoft.App/containerApps/revisions/read'
          'Microsoft.App/containerApps/revisions/replicas/read'
          'Microsoft.App/containerApps/revisions/activate/action'
          'Microsoft.App/containerApps/revisions/deactivate/action'
          'Microsoft.App/containerApps/revisions/restart/action'
        ]
        notActions: []
        dataActions: []
        notDataActions: []
      }
    ]
    assignableScopes: [groupId]
  }
}

resource acts 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(app.id, actuatorPrincipalId, actuatorRole)
  scope: app
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', actuatorRole)
    principalId: actuatorPrincipalId
    principalType: 'ServicePrincipal'
  }
  dependsOn: [actuator]
}

// Apart from the actuator's, and without the right to write: whoever shall only stop apps gets this one alone.
resource stopper 'Microsoft.Authorization/roleDefinitions@2022-04-01' = if (lastResort) {
  name: lastResortRole
  properties: {
    roleName: 'Tocsin last resort ${uniqueString(groupId)}'
    description: 'Stops a Container App and starts it again.'
    type: 'CustomRole'
    permissions: [
      {
        actions: [
          'Microsoft.App/containerApps/read'
          'Microsoft.App/containerApps/revisions/read'
          'Microsoft.App/containerApps/stop/action'
          'Microsoft.App/containerApps/start/action'
        ]
        notActions: []
        dataActions: []
        notDataActions: []
      }
    ]
    assignableScopes: [groupId]
  }
}

resource stops 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (lastResort) {
  name: guid(app.id, actuatorPrincipalId, lastResortRole)
  scope: app
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', lastResortRole)
    principalId: actuatorPrincipalId
    principalType: 'ServicePrincipal'
  }
  dependsOn: [stopper]
}

// There can be one topic for a resource group, and it has to be in its subscription.
resource topic 'Microsoft.EventGrid/systemTopics@2025-02-15' = if (events) {
  name: 'evgt-tocsin-${uniqueString(groupId)}'
  location: 'global'
  tags: tags
  identity: {
    type: 'SystemAssigned'
  }
  properties: {
    source: groupId
    topicType: 'Microsoft.Resources.ResourceGroups'
  }
}

output containerApp string = appName
output workspace string = workspaceName
output applicationInsights string = componentName
output topic string = events ? topic.name : ''
output topicPrincipalId string = events ? topic!.identity.principalId : ''
