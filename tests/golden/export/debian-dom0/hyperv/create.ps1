#Requires -RunAsAdministrator
#Requires -Modules Hyper-V
# Makes switches, disks and machines of the lab debian-dom0.
. (Join-Path $PSScriptRoot 'lib.ps1')
Assert-LabHost -Build 14393 -AmdBuild 20348
New-Item -ItemType Directory -Force -Path 'C:\nestlab\debian-dom0' | Out-Null
New-LabVM -Machine @{
    Name = 'debian-dom0-dom0'
    Lab = 'debian-dom0'
    Folder = 'C:\nestlab\debian-dom0'
    Generation = 1
    Memory = 4294967296
    DynamicMemory = $false
    Cpus = 2
    Expose = $true
    Spoofing = 'On'
    Medium = ''
    Console = '\\.\pipe\debian-dom0-dom0'
    Disks = @(
        @{
            Path = 'C:\nestlab\debian-dom0\debian-dom0-dom0-disk0.vhdx'
            Size = 53687091200
            Image = $true
            Controller = 0
            Location = 0
        }
    )
    Cards = @(
        @{
            Name = 'management'
            Switch = 'Default Switch'
            Mac = '525400C714F4'
            Vlan = 0
            Trunk = ''
        }
    )
}
