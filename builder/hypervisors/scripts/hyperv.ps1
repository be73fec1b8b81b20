# Part of every exported script. Runs in Windows PowerShell 5.1 and later, as administrator, on the Hyper-V host.
Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

function Assert-LabHost {
    # Whether this host can nest at all, by its build and the maker of its processor.
    param([int] $Build, [int] $AmdBuild)
    $here = [Environment]::OSVersion.Version.Build
    if ($here -lt $Build) { throw "Windows build $here is too old for nested virtualization: $Build is the least" }
    $maker = (Get-CimInstance -ClassName Win32_Processor | Select-Object -First 1).Manufacturer
    if ($maker -eq 'AuthenticAMD' -and $here -lt $AmdBuild) {
        throw "nesting on AMD needs build $AmdBuild or later; this is $here"
    }
}

function Assert-LabSwitch {
    # The switch for the management cards is the host's own: it is never made here.
    param([string] $Name)
    $there = @(Get-VMSwitch | Select-Object -ExpandProperty Name)
    if ($there -notcontains $Name) {
        throw "this host has no switch '$Name' for the management cards, but: $($there -join ', '). Export the lab " +
            'again with --uplink and the name of one of these, or make the switch (New-VMSwitch)'
    }
}

function New-LabSwitch {
    param([string] $Name, [string] $Lab)
    # All are listed and none is asked for: a switch that is not there would be an error, as a query that fails is.
    if (@(Get-VMSwitch | Where-Object Name -EQ $Name).Count -eq 0) {
        New-VMSwitch -Name $Name -SwitchType Private -Notes "nestlab $Lab" | Out-Null
    }
}

function Get-LabVM {
    # The machine of that name, if it is this lab's; another one of that name is an error.
    param([string] $Name, [string] $Lab)
    $machine = Get-VM | Where-Object Name -EQ $Name
    if ($machine -and $machine.Notes -notin @("nestlab $Lab", "nestlab $Lab ready")) {
        throw "the machine $Name is not of the lab $Lab"
    }
    return $machine
}

function New-LabDisk {
    # A disk that grows. One that came with contents has to be there.
    param([string] $Path, [long] $Size, [bool] $Image)
    if (Test-Path -LiteralPath $Path) { return }
    if ($Image) { throw "$Path is missing: copy what prepare.sh made" }
    New-VHD -Path $Path -SizeBytes $Size -Dynamic | Out-Null
}

function New-LabVM {
    param([hashtable] $Machine)
    $name = $Machine.Name
    $there = Get-LabVM -Name $name -Lab $Machine.Lab
    if ($there -and $there.Notes -eq "nestlab $($Machine.Lab) ready") { return }
    # What an earlier run left half made.
    if ($there) { Remove-VM -VM $there -Force }
    New-VM -Name $name -Generation $Machine.Generation -MemoryStartupBytes $Machine.Memory -NoVHD `
        -Path $Machine.Folder | Out-Null
    Set-VM -Name $name -Notes "nestlab $($Machine.Lab)" -AutomaticStartAction Nothing -CheckpointType Disabled
    Set-VMMemory -VMName $name -DynamicMemoryEnabled $Machine.DynamicMemory -StartupBytes $Machine.Memory
    Set-VMProcessor -VMName $name -Count $Machine.Cpus
    # Nesting is a setting of a machine that exists and is off.
    Set-VMProcessor -VMName $name -ExposeVirtualizationExtensions $Machine.Expose
    Get-VMNetworkAdapter -VMName $name | Remove-VMNetworkAdapter
    Get-VMDvdDrive -VMName $name | Remove-VMDvdDrive
    foreach ($disk in $Machine.Disks) {
        New-LabDisk -Path $disk.Path -Size $disk.Size -Image $disk.Image
        Add-VMHardDiskDrive -VMName $name -ControllerType IDE -ControllerNumber $disk.Controller `
            -ControllerLocation $disk.Location -Path $disk.Path
    }
    if ($Machine.Medium) {
        if (-not (Test-Path -LiteralPath $Machine.Medium)) { throw "$($Machine.Medium) is missing: copy it" }
        Add-VMDvdDrive -VMName $name -ControllerNumber 1 -ControllerLocation 1 -Path $Machine.Medium
    }
    foreach ($card in $Machine.Cards) { Add-LabCard -VMName $name -Card $card -Spoofing $Machine.Spoofing }
    Set-VMComPort -VMName $name -Number 1 -Path $Machine.Console
    # The disk first: an empty one falls through to the medium.
    Set-VMBios -VMName $name -StartupOrder @('IDE', 'CD', 'LegacyNetworkAdapter', 'Floppy')
    Set-VM -Name $name -Notes "nestlab $($Machine.Lab) ready"
}

function Add-LabCard {
    param([string] $VMName, [hashtable] $Card, [string] $Spoofing)
    Add-VMNetworkAdapter -VMName $VMName -Name $Card.Name -IsLegacy $true -SwitchName $Card.Switch `
        -StaticMacAddress $Card.Mac
    Set-VMNetworkAdapter -VMName $VMName -Name $Card.Name -MacAddressSpoofing $Spoofing
    if ($Card.Vlan) {
        Set-VMNetworkAdapterVlan -VMName $VMName -VMNetworkAdapterName $Card.Name -Access -VlanId $Card.Vlan
    }
    if ($Card.Trunk) {
        Set-VMNetworkAdapterVlan -VMName $VMName -VMNetworkAdapterName $Card.Name -Trunk `
            -AllowedVlanIdList $Card.Trunk -NativeVlanId 0
    }
}

function Start-LabVM {
    param([string] $Name, [string] $Lab)
    $machine = Get-LabVM -Name $Name -Lab $Lab
    if (-not $machine) { throw "there is no machine $Name of the lab ${Lab}: run create.ps1" }
    if ($machine.State -ne 'Running') { Start-VM -VM $machine }
}

function Dismount-LabMedium {
    param([string] $Name, [string] $Lab)
    if (Get-LabVM -Name $Name -Lab $Lab) { Get-VMDvdDrive -VMName $Name | Set-VMDvdDrive -Path $null }
}

function Remove-LabVM {
    param([string] $Name, [string] $Lab)
    $machine = Get-LabVM -Name $Name -Lab $Lab
    if (-not $machine) { return }
    if ($machine.State -ne 'Off') { Stop-VM -VM $machine -TurnOff -Force }
    Remove-VM -VM $machine -Force
}

function Remove-LabDisk {
    param([string] $Path)
    if (Test-Path -LiteralPath $Path) { Remove-Item -LiteralPath $Path }
}

function Remove-LabSwitch {
    param([string] $Name, [string] $Lab)
    $switch = Get-VMSwitch | Where-Object Name -EQ $Name
    if ($switch -and $switch.Notes -eq "nestlab $Lab") { Remove-VMSwitch -VMSwitch $switch -Force }
}
