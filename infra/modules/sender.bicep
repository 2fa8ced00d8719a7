// Deployed into the resource group of an Event Grid topic to which policies publish.

param topic string
param principalId string

var roles = loadJsonContent('../roles.json')

resource target 'Microsoft.EventGrid/topics@2025-02-15' existing = {
  name: topic
}

resource sends 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(target.id, principalId, roles.eventGridDataSender)
  scope: target
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.eventGridDataSender)
    principalId: principalId
    principalType: 'ServicePrincipal'
  }
}
