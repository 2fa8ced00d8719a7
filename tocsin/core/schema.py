"""The workspace's tables and columns as Application Insights writes them, and their classic names."""

from __future__ import annotations

from collections.abc import Mapping

_COMMON = {
    "TimeGenerated": "datetime",
    "AppRoleName": "string",
    "AppRoleInstance": "string",
    "AppVersion": "string",
    "OperationId": "string",
    "OperationName": "string",
    "ParentId": "string",
    "SessionId": "string",
    "SyntheticSource": "string",
    "UserId": "string",
    "ItemCount": "int",
    "Properties": "dynamic",
    "SDKVersion": "string",
    "_ResourceId": "string",
}
_CALL = {
    "Id": "string",
    "Name": "string",
    "Success": "bool",
    "ResultCode": "string",
    "DurationMs": "real",
    "PerformanceBucket": "string",
}

TABLES: Mapping[str, Mapping[str, str]] = {
    "AppTraces": {**_COMMON, "Message": "string", "SeverityLevel": "int"},
    "AppRequests": {**_COMMON, **_CALL, "Url": "string", "Source": "string"},
    "AppDependencies": {**_COMMON, **_CALL, "Target": "string", "DependencyType": "string", "Data": "string"},
    "AppExceptions": {
        **_COMMON,
        "ProblemId": "string",
        "ExceptionType": "string",
        "Method": "string",
        "OuterMessage": "string",
        "OuterType": "string",
        "InnermostMessage": "string",
        "InnermostType": "string",
        "Details": "dynamic",
        "SeverityLevel": "int",
    },
    "AppMetrics": {**_COMMON, "Name": "string", "Sum": "real", "Min": "real", "Max": "real"},
}
"""Table → column → KQL type. Columns about browsers, cities and billing are left out: nobody alerts on them."""

CLASSIC: Mapping[str, str] = {
    "traces": "AppTraces",
    "requests": "AppRequests",
    "dependencies": "AppDependencies",
    "exceptions": "AppExceptions",
    "customMetrics": "AppMetrics",
}
"""Classic Application Insights table → workspace table."""

_CLASSIC_COMMON = {
    "timestamp": "TimeGenerated",
    "cloud_RoleName": "AppRoleName",
    "cloud_RoleInstance": "AppRoleInstance",
    "application_Version": "AppVersion",
    "operation_Id": "OperationId",
    "operation_Name": "OperationName",
    "operation_ParentId": "ParentId",
    "operation_SyntheticSource": "SyntheticSource",
    "session_Id": "SessionId",
    "user_Id": "UserId",
    "itemCount": "ItemCount",
    "customDimensions": "Properties",
    "sdkVersion": "SDKVersion",
}
_CLASSIC_CALL = {
    "id": "Id",
    "name": "Name",
    "success": "Success",
    "resultCode": "ResultCode",
    "duration": "DurationMs",
    "performanceBucket": "PerformanceBucket",
}

CLASSIC_COLUMNS: Mapping[str, Mapping[str, str]] = {
    "AppTraces": {**_CLASSIC_COMMON, "message": "Message", "severityLevel": "SeverityLevel"},
    "AppRequests": {**_CLASSIC_COMMON, **_CLASSIC_CALL, "url": "Url", "source": "Source"},
    "AppDependencies": {
        **_CLASSIC_COMMON,
        **_CLASSIC_CALL,
        "target": "Target",
        "type": "DependencyType",
        "data": "Data",
    },
    "AppExceptions": {
        **_CLASSIC_COMMON,
        "problemId": "ProblemId",
        "type": "ExceptionType",
        "method": "Method",
        "outerMessage": "OuterMessage",
        "outerType": "OuterType",
        "innermostMessage": "InnermostMessage",
        "innermostType": "InnermostType",
        "details": "Details",
        "severityLevel": "SeverityLevel",
    },
    "AppMetrics": {
        **_CLASSIC_COMMON,
        "name": "Name",
        "valueSum": "Sum",
        "valueMin": "Min",
        "valueMax": "Max",
        "valueCount": "ItemCount",
    },
}
"""Workspace table → classic column → workspace column, for telling operators the name they need."""
