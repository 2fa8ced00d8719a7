// One alert of Azure Monitor on the watcher's own telemetry. Its query returns a row when somebody has to be told.

param name string
param location string
param tags object
param displayName string
param explanation string
param severity int
param query string
param workspaceId string
param actionGroupId string

resource rule 'Microsoft.Insights/scheduledQueryRules@2026-03-01' = {
  name: name
  location: location
  tags: tags
  kind: 'LogAlert'
  properties: {
    displayName: displayName
    description: explanation
    severity: severity
    enabled: true
    scopes: [workspaceId]
    evaluationFrequency: 'PT5M'
    windowSize: 'PT15M'
    criteria: {
      allOf: [
        {
          query: query
          timeAggregation: 'Count'
          operator: 'GreaterThan'
          threshold: 0
          failingPeriods: {
            numberOfEvaluationPeriods: 1
            minFailingPeriodsToAlert: 1
          }
        }
      ]
    }
    autoMitigate: true
    // A new workspace has none of the tables yet; the tests of this repository have looked at the query.
    skipQueryValidation: true
    actions: {
      actionGroups: [actionGroupId]
    }
  }
}
