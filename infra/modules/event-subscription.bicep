// Deployed into the resource group of one target: changes of its Container App cause an evaluation at once, and somebody
// hears when events are not taken.

param topic string
param containerApp string

@description('The function that takes events.')
param functionId string

param storageId string
param container string

@description('Event Grid reaches that account. It refuses a subscription whose dead letters it could not keep.')
param keepsDeadLetters bool

param actionGroupId string

@description('Tells two Tocsins that watch the same Container App apart: neither takes the other\'s subscription.')
param token string

param tags object

// An alert rule takes no action group of another subscription: there it is found among the alerts of the portal, and mails nobody.
var reachable = split(actionGroupId, '/')[2] == subscription().subscriptionId

resource source 'Microsoft.EventGrid/systemTopics@2025-02-15' existing = {
  name: topic
}

resource changes 'Microsoft.EventGrid/systemTopics/eventSubscriptions@2025-02-15' = {
  parent: source
  name: 'tocsin-${containerApp}-${token}'
  properties: {
    destination: {
      endpointType: 'AzureFunction'
      properties: {
        resourceId: functionId
        maxEventsPerBatch: 1
        preferredBatchSizeInKilobytes: 64
      }
    }
    eventDeliverySchema: 'EventGridSchema'
    filter: {
      includedEventTypes: [
        'Microsoft.Resources.ResourceActionSuccess'
        'Microsoft.Resources.ResourceDeleteSuccess'
        'Microsoft.Resources.ResourceWriteSuccess'
      ]
      subjectBeginsWith: resourceId('Microsoft.App/containerApps', containerApp)
      isSubjectCaseSensitive: false
    }
    // An event older than an hour is not looked at: every tick since has looked anyway.
    retryPolicy: {
      maxDeliveryAttempts: 30
      eventTimeToLiveInMinutes: 60
    }
    deadLetterWithResourceIdentity: keepsDeadLetters
      ? {
          identity: {
            type: 'SystemAssigned'
          }
          deadLetterDestination: {
            endpointType: 'StorageBlob'
            properties: {
              resourceId: storageId
              blobContainerName: container
            }
          }
        }
      : null
  }
}

// Ticks find what the events were about; that they do not arrive is worth a look. What is not kept is dropped.
resource alert 'Microsoft.Insights/metricAlerts@2026-01-01' = {
  name: 'tocsin-events-not-taken-${containerApp}-${token}'
  location: 'global'
  tags: tags
  properties: {
    description: 'Event Grid gave up events of ${containerApp}. Where they are kept they are in the container dead-letters, with their reasons.'
    severity: 3
    enabled: true
    scopes: [source.id]
    evaluationFrequency: 'PT5M'
    windowSize: 'PT15M'
    autoMitigate: true
    criteria: {
      'odata.type': 'Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria'
      allOf: [
        {
          criterionType: 'StaticThresholdCriterion'
          name: keepsDeadLetters ? 'dead-letters' : 'dropped'
          metricNamespace: 'Microsoft.EventGrid/systemTopics'
          metricName: keepsDeadLetters ? 'DeadLetteredCount' : 'DroppedEventCount'
          timeAggregation: 'Total'
          operator: 'GreaterThan'
          threshold: 0
        }
      ]
    }
    actions: reachable ? [{ actionGroupId: actionGroupId }] : []
  }
}
