// Deployed into the resource group of a target's workspace: the reader may ask it.

param name string
param readerPrincipalId string

var roles = loadJsonContent('../roles.json')

resource workspace 'Microsoft.OperationalInsights/workspaces@2026-03-01' existing = {
  name: name
}

resource asks 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(workspace.id, readerPrincipalId, roles.logAnalyticsReader)
  scope: workspace
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.logAnalyticsReader)
    principalId: readerPrincipalId
    principalType: 'ServicePrincipal'
  }
}

output id string = workspace.id
output customerId string = workspace.properties.customerId
