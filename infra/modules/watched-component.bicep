// Deployed into the resource group of the watched app's Application Insights component: its id, by which telemetry is found.

param name string

resource component 'Microsoft.Insights/components@2020-02-02' existing = {
  name: name
}

// Read, and not put together: a name that is nobody's ends the deployment here, where otherwise nothing would be seen.
output id string = empty(component.properties.AppId) ? '' : component.id
