// The workbook over what the watcher says of itself and what the accelerator emits.

param location string
param tags object
param displayName string
param ownWorkspaceId string
param watchedWorkspaceId string

var own = replace(loadTextContent('../workbook.json'), 'OWN_WORKSPACE', ownWorkspaceId)

resource book 'Microsoft.Insights/workbooks@2023-06-01' = {
  name: guid(resourceGroup().id, 'tocsin-workbook')
  location: location
  tags: tags
  kind: 'shared'
  properties: {
    displayName: displayName
    category: 'workbook'
    sourceId: ownWorkspaceId
    version: 'Notebook/1.0'
    serializedData: replace(own, 'WATCHED_WORKSPACE', watchedWorkspaceId)
  }
}
