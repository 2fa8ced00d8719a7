// Azure Monitor watches the watcher: whatever Tocsin cannot say of itself because it does not run.

@description('As people see it.')
param envName string

@description('As part of a name.')
param shortName string

param token string
param location string
param tags object
param workspaceId string

@description('Addresses with commas.')
param emails string

var people = filter(split(replace(emails, ' ', ''), ','), each => !empty(each))
var receivers = [
  for (each, index) in people: {
    name: 'person-${index}'
    emailAddress: each
    useCommonAlertSchema: true
  }
]

resource group 'Microsoft.Insights/actionGroups@2023-01-01' = {
  name: 'ag-tocsin-${shortName}-${token}'
  location: 'global'
  tags: tags
  properties: {
    groupShortName: 'tocsin'
    enabled: true
    emailReceivers: receivers
  }
}

module silent 'alert.bicep' = {
  name: 'tocsin-alert-no-heartbeat'
  params: {
    name: 'tocsin-no-heartbeat-${shortName}-${token}'
    location: location
    tags: tags
    displayName: 'Tocsin (${envName}) does not watch'
    explanation: 'No tick of the timer has ended for a quarter of an hour. Look at /api/health, then at the log of the function app.'
    severity: 1
    query: loadTextContent('../alerts/no_heartbeat.kql')
    workspaceId: workspaceId
    actionGroupId: group.id
  }
}

module failing 'alert.bicep' = {
  name: 'tocsin-alert-failed-executions'
  params: {
    name: 'tocsin-failed-executions-${shortName}-${token}'
    location: location
    tags: tags
    displayName: 'Tocsin (${envName}) fails again and again'
    explanation: 'Three executions or more have failed within a quarter of an hour. The log of the function app says why.'
    severity: 2
    query: loadTextContent('../alerts/failed_executions.kql')
    workspaceId: workspaceId
    actionGroupId: group.id
  }
}

module undelivered 'alert.bicep' = {
  name: 'tocsin-alert-dead-letters'
  params: {
    name: 'tocsin-dead-letters-${shortName}-${token}'
    location: location
    tags: tags
    displayName: 'Tocsin (${envName}) could not tell, or gave work up'
    explanation: 'A message was given up, or a target could not be evaluated. See tocsin deliveries --state dead.'
    severity: 1
    query: loadTextContent('../alerts/dead_letters.kql')
    workspaceId: workspaceId
    actionGroupId: group.id
  }
}

output groupId string = group.id
